"""Whether the models of a configuration can run at all: their files, and flags that belong to relayd."""

from relayd.config import Config, check_model_files
from relayd.engine import check_extra_args


def check_models(config: Config) -> None:
    """Check the models of a configuration beyond its form.

    Raises:
        ConfigError: An engine flag of a model belongs to relayd.
        ModelFileError: A model file is missing or no GGUF.
    """
    check_model_files(config)
    for model in config.model:
        check_extra_args(model.args, f"model {model.name!r}")
