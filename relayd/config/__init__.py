"""Configuration: relay.toml, the variables that override it, and relayd's own folders."""

from relayd.config.diff import Setting, changed_lines, changed_settings
from relayd.config.exposure import check_exposure
from relayd.config.listen import ListenAddress, parse_listen, parse_ports
from relayd.config.load import Loaded, find_config, load
from relayd.config.modelfiles import check_model_files
from relayd.config.naming import model_name, told_apart
from relayd.config.paths import (
    Paths,
    cache_dir,
    config_dir,
    data_dir,
    make_folders,
    own_paths,
    paths,
    runtime_dir,
    state_dir,
    with_socket_room,
)
from relayd.config.schema import Allocation, Config, LoraFile, Model, Section

__all__ = [
    "Allocation",
    "Config",
    "ListenAddress",
    "Loaded",
    "LoraFile",
    "Model",
    "Paths",
    "Section",
    "Setting",
    "cache_dir",
    "changed_lines",
    "changed_settings",
    "check_exposure",
    "check_model_files",
    "config_dir",
    "data_dir",
    "find_config",
    "load",
    "make_folders",
    "model_name",
    "own_paths",
    "parse_listen",
    "parse_ports",
    "paths",
    "runtime_dir",
    "state_dir",
    "told_apart",
    "with_socket_room",
]
