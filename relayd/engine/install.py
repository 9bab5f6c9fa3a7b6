"""Installing, updating and rolling back llama-server."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from relayd.clock import Clock
from relayd.engine import build, release
from relayd.engine.features import ask
from relayd.engine.find import VARIABLE, Engine, find_engine
from relayd.engine.host import Host
from relayd.engine.installed import EngineShelf, Installed, engine_id
from relayd.errors import EngineError, EngineMissing, FetchError, HashMismatchError, NoSpaceError
from relayd.fetch import FIRST_BYTE_SECONDS
from relayd.progress import Progress


@dataclass(frozen=True, slots=True)
class Installer:
    """Everything an installation needs from outside.

    Attributes:
        shelf: Where engines are kept.
        probe: Looks at this machine, when something has to be installed.
        environ: Our environment.
        progress: Called with what happens, before and while it does.
        clock: Dates the manifest.
        release_sha256: The digest the archive must have; empty to believe the release's own.
        verify: Whether an archive without a digest is refused.
        api_url: GitHub's API for llama.cpp.
        timeout_seconds: How long GitHub may be silent.
        runner: Runs the build.
        which: Finds a program on PATH.
    """

    shelf: EngineShelf
    probe: Callable[[], Host]
    environ: Mapping[str, str]
    progress: Progress
    clock: Clock
    release_sha256: str = ""
    api_url: str = release.GITHUB
    timeout_seconds: float = FIRST_BYTE_SECONDS
    runner: build.Runner = build.run_logged
    which: build.Which = shutil.which
    verify: bool = True

    def install(self) -> Installed:
        """Return the current engine; get one first if there is none that runs.

        Raises:
            HashMismatchError: What was fetched is not what was promised.
            NoSpaceError: The disk is too small.
            EngineBuildError: Nothing could be fetched, and the build failed.
            StateError: The engines folder cannot be written.
        """
        with self.shelf.locked(self.progress):
            current = self.shelf.current()
            return current if current and self._runs(current) else self._get()

    def update(self) -> Installed:
        """Get the newest engine and switch to it; keep the one before, remove older ones.

        Raises:
            FetchError: Releases cannot be looked up; the current engine stays.
            Error: As `install` does.
        """
        with self.shelf.locked(self.progress):
            self._check_releases()
            engine = self._get()
            self.shelf.prune()
            return engine

    def _check_releases(self) -> None:
        """Raise FetchError where releases cannot be looked up, and there is an engine that can stay."""
        current = self.shelf.current()
        if current is None or not self._runs(current):
            return
        try:
            release.newest(self.api_url, timeout_seconds=self.timeout_seconds)
        except FetchError as error:
            kept = f"llama.cpp {current.version} ({current.backend}) stays in use."
            raise FetchError(
                f"no newer llama-server could be looked for: {error.message}",
                remedy=" ".join(filter(None, (kept, error.remedy))),
            ) from error

    def _get(self) -> Installed:
        """Return the newest engine, from its release or compiled; needs the lock."""
        host = self.probe()
        try:
            return self._fetched(host)
        except (HashMismatchError, NoSpaceError):
            raise  # compiling would hide the first, and not mend the second
        except (FetchError, EngineError) as error:
            more = f" {error.remedy}" if isinstance(error, FetchError) and error.remedy else ""
            self.progress.say(f"No archive from the release: {error.message}.{more}")
        return self._built(host)

    def _fetched(self, host: Host) -> Installed:
        newest = release.newest(self.api_url, timeout_seconds=self.timeout_seconds)
        choice = release.choose(newest, host)
        if choice is None:
            raise FetchError(f"{newest.tag_name} has none for {host.system} on {host.machine}")
        if host.cuda and choice.backend != "cuda" and self.which("nvcc"):
            raise FetchError(f"{newest.tag_name} has no CUDA build for this driver, and nvcc is here")
        if installed := self._already(choice.tag, choice.backend, host):
            return installed
        self.progress.say(release.describe(choice))
        pinned = {choice.assets[0].name: self.release_sha256} if self.release_sha256 else {}
        with self.shelf.staging() as staging:
            engine = release.unpack_release(choice, staging, host, self.progress, pinned, verify=self.verify)
            return self._accept(staging, engine)

    def _built(self, host: Host) -> Installed:
        current = self.shelf.current()
        if current and (current.build or 0) > build.BUILD and self._runs(current):
            self.progress.say(f"Keeping llama.cpp {current.version}, newer than what can be compiled.")
            return current
        backend = build.backend_for(host, self.which)
        if installed := self._already(f"b{build.BUILD}", backend, host):
            return installed
        build.check_tools(host, self.which)
        self.progress.say(build.describe(host, backend))
        with self.shelf.staging() as staging:
            engine = build.build(
                staging,
                self.shelf.root / "build.log",
                host,
                backend=backend,
                environ=self.environ,
                runner=self.runner,
                progress=self.progress,
            )
            return self._accept(staging, engine)

    def _already(self, version: str, backend: str, host: Host) -> Installed | None:
        """Return that engine, as the current one, if it is installed and runs."""
        wanted = engine_id(version, backend, host.cpu_key)
        engine = next((one for one in self.shelf.engines() if one.id == wanted), None)
        if engine is None or not self._runs(engine):
            return None
        self.progress.say(f"llama.cpp {version} ({backend}) is installed already.")
        return self.shelf.switch(wanted)

    def _runs(self, engine: Installed) -> bool:
        try:
            ask(self.shelf.binary(engine), self.environ)
        except EngineError:
            return False
        return True

    def _accept(self, staging: Path, engine: Installed) -> Installed:
        """Run the new engine once, and register it."""
        ask(staging / engine.binary, self.environ)
        dated = msgspec.structs.replace(engine, installed_at=self.clock.wall())
        return self.shelf.add(staging, dated)


def ensure(installer: Installer, *, cache: Path, configured: str = "") -> Engine:
    """Return the engine to use; install one if none is found and none was named.

    Args:
        installer: Where and how to install.
        cache: The folder of cached features.
        configured: A path from the configuration or the command line; empty for none.

    Raises:
        EngineMissing: The named one does not exist.
        RelaydError: As `find_engine` and `Installer.install` do.
    """

    def find() -> Engine:
        return find_engine(installer.shelf, cache=cache, environ=installer.environ, configured=configured)

    if not configured and not installer.environ.get(VARIABLE):
        try:
            return find()
        except EngineMissing:
            installer.install()
    return find()
