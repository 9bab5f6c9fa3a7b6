"""Where a plan is made: environment, home and working directory, and relayd's folders in them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from relayd.catalog import CatalogEntry, Folders, load_catalog, shipped_folder
from relayd.config import Loaded, load
from relayd.folders import cache_dir, config_dir, data_dir, state_dir
from relayd.models.shelf import ModelShelf


@dataclass(frozen=True, slots=True)
class Site:
    """The user, the folder and the environment that a command or a daemon works for.

    Attributes:
        environ: Its environment variables.
        home: What `~` stands for.
        cwd: Where relative paths of the command line start; absolute.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    home: Path = field(default_factory=Path.home)
    cwd: Path = field(default_factory=Path.cwd)

    @property
    def data(self) -> Path:
        """Engines and downloaded models."""
        return data_dir(self.environ, self.home)

    @property
    def cache(self) -> Path:
        """What can be fetched or computed again."""
        return cache_dir(self.environ, self.home)

    @property
    def state(self) -> Path:
        """What outlives a reboot."""
        return state_dir(self.environ, self.home)

    @property
    def catalog_folders(self) -> Folders:
        """Where the catalogue is read from."""
        own = config_dir(self.environ, self.home) / "catalog"
        return Folders(shipped_folder(), self.state / "catalog", own, self.cache / "catalog.json")

    @property
    def shelf(self) -> ModelShelf:
        """Relayd's own folder of models."""
        return ModelShelf(self.data / "models")

    def load(self, file: Path | None = None) -> Loaded:
        """Return the configuration: of `file`, else of the usual places.

        Raises:
            ConfigError: A file is missing, unsafe or wrong.
        """
        return load(file, self.environ, self.home, self.cwd)

    def catalog(self) -> tuple[CatalogEntry, ...]:
        """Return every model of the catalogue, imported and updated ones included.

        Raises:
            ConfigError: A file of it is wrong.
        """
        return load_catalog(self.catalog_folders)
