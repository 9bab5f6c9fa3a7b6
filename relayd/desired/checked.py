"""Whether models can run at all: their files, where they were named, and flags that belong to relayd."""

from collections.abc import Container

import msgspec

from relayd.config import Config, check_model_files
from relayd.engine import check_extra_args


def check_models(config: Config, named: Container[str] = ()) -> None:
    """Check the models of a configuration beyond its form.

    A file that is missing ends nothing but its model; what a person names is answered at once.

    Args:
        config: The models.
        named: Those that a command line names.

    Raises:
        ConfigError: An engine flag of a model belongs to relayd.
        ModelFileError: A file of a model that was named is missing or no GGUF.
    """
    meant = tuple(model for model in config.model if model.name in named)
    check_model_files(msgspec.structs.replace(config, model=meant))
    for model in config.model:
        check_extra_args(model.args, f"model {model.name!r}")
