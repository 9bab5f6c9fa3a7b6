"""Whether a file that was named on a command line is a model that can be served."""

from pathlib import Path

from relayd.errors import ModelFileError
from relayd.gguf import read_model

REMEDY = (
    "Get the file anew, or another of the model. A newer llama-server may take it all the same: "
    "give it a line in relay.toml, and the engine decides."
)


def judge(file: Path, build: int | None) -> None:
    """Make sure that a file can be served.

    Files that relay.toml lists are left to the engine, each alone; what a person names is answered at once.

    Args:
        file: The model.
        build: llama.cpp's build number of the engine; None while it is not known.

    Raises:
        ModelFileError: It cannot be read, is not a model, or its tensors are not what its header promises.
    """
    from relayd.planner.demand import Demand  # noqa: PLC0415 - lists of known models need none of it

    model = read_model(file, build)
    try:
        Demand(model).check()
    except ModelFileError as error:
        raise ModelFileError(
            f"{file} ({model.architecture}) cannot be served: {error.message}", remedy=error.remedy or REMEDY
        ) from error
