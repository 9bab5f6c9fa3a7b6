"""llama-server binaries: finding, installing, their features and flags."""

from relayd.engine.argv import Features, command
from relayd.engine.commandline import batch_tokens
from relayd.engine.environment import environment
from relayd.engine.features import read_features
from relayd.engine.find import Engine, find_engine
from relayd.engine.host import Host
from relayd.engine.install import Installer, ensure
from relayd.engine.installed import EngineShelf, Installed
from relayd.engine.reserved import check_extra_args

__all__ = [
    "Engine",
    "EngineShelf",
    "Features",
    "Host",
    "Installed",
    "Installer",
    "batch_tokens",
    "check_extra_args",
    "command",
    "ensure",
    "environment",
    "find_engine",
    "read_features",
]
