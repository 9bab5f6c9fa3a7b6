"""Configuration: relay.toml and the variables that override it."""

from relayd.config.ashub import as_hub
from relayd.config.diff import Setting, changed_lines, changed_settings
from relayd.config.exposure import check_exposure, check_tls
from relayd.config.listen import ListenAddress, parse_addresses, parse_listen, parse_ports, show_addresses
from relayd.config.load import Loaded, find_config, load
from relayd.config.modelfiles import check_model_files, file_problem
from relayd.config.naming import NAME, model_name, told_apart
from relayd.config.schema import Allocation, Config, LoraFile, Model, Section, VirtualModel
from relayd.config.written import drop, keep, written_models

__all__ = [
    "NAME",
    "Allocation",
    "Config",
    "ListenAddress",
    "Loaded",
    "LoraFile",
    "Model",
    "Section",
    "Setting",
    "VirtualModel",
    "as_hub",
    "changed_lines",
    "changed_settings",
    "check_exposure",
    "check_model_files",
    "check_tls",
    "drop",
    "file_problem",
    "find_config",
    "keep",
    "load",
    "model_name",
    "parse_addresses",
    "parse_listen",
    "parse_ports",
    "show_addresses",
    "told_apart",
    "written_models",
]
