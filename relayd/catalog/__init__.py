"""The catalogue: shapes, sizes and licences of models, with the source of each fact."""

from relayd.catalog.entry import CatalogEntry, Dimensions, ModelFile
from relayd.catalog.load import Folders, load_catalog, shipped_folder
from relayd.catalog.match import Match, find_entry, identify

__all__ = [
    "CatalogEntry",
    "Dimensions",
    "Folders",
    "Match",
    "ModelFile",
    "find_entry",
    "identify",
    "load_catalog",
    "shipped_folder",
]
