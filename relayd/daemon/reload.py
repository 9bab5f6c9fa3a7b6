"""How a running daemon follows its configuration anew (reload, on SIGHUP or by command)."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import replace

import msgspec

from relayd.config import Config, changed_lines, changed_settings
from relayd.daemon.admission import why_down
from relayd.daemon.coalesce import Coalesced
from relayd.daemon.parts import DaemonParts
from relayd.daemon.report import ReloadReport, SettingReport
from relayd.daemon.shutdown import Shutdown
from relayd.daemon.upstreams import upstream_plan
from relayd.desired.state import DesiredState, remember_plan
from relayd.errors import RelaydError
from relayd.journal import Journal
from relayd.planner import Change, Changes
from relayd.supervisor import Replica, State
from relayd.supervisor.causes import Cause
from relayd.supervisor.state import DOWN

NOT_STARTED = "it could not be started before"
"""Why a reload tries a replica again whose plan is the same."""

Refresh = Callable[[Collection[str]], DesiredState]
"""Makes the desired state again, with the models that are given up; may block, runs in a thread."""


class Reload:
    """Makes the desired state again, and lets the parts follow it; a bad configuration changes nothing.

    Args:
        parts: What follows.
        refresh: Makes the desired state from files and environment.
        shutdown: A daemon that is about to end follows nothing.
        on_done: Called with what a reload has changed, or with None and why it was refused.
    """

    def __init__(
        self,
        parts: DaemonParts,
        refresh: Refresh,
        shutdown: Shutdown,
        on_done: Callable[[ReloadReport | None, str], None] = lambda _report, _refusal: None,
    ) -> None:
        self._parts = parts
        self._refresh = refresh
        self._shutdown = shutdown
        self._on_done = on_done
        self._coalesced = Coalesced(self._run)
        self._journal = Journal("daemon")
        self._in_background: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Reload{' under way' if self._parts.changing.locked() else ''}>"

    async def run(self) -> ReloadReport:
        """Follow the configuration as it is from now on; calls during a run share the next one.

        Raises:
            RelaydError: It cannot be followed.
        """
        return await self._coalesced.run()

    async def preview(self) -> ReloadReport:
        """Return what `run` would change; raises what it raises."""
        async with self._parts.changing:
            desired = await self._read()
            return self._report(desired, self._changes(desired), dry_run=True)

    def request(self) -> None:
        """Run in the background; a failure goes to the log."""
        self._in_background.add(task := asyncio.create_task(self._run_quietly()))
        task.add_done_callback(self._in_background.discard)

    async def _run_quietly(self) -> None:
        with suppress(RelaydError):  # it is in the log, and no caller waits for an answer
            await self.run()

    async def _run(self) -> ReloadReport:
        try:
            async with self._parts.changing:
                desired = await self._read()
                report = await self._follow(await asyncio.to_thread(remember_plan, desired))
        except RelaydError as error:
            self._journal.error("reload.refused", message=str(error))
            self._on_done(None, str(error))
            raise
        self._on_done(report, "")
        return report

    async def _read(self) -> DesiredState:
        desired = await asyncio.to_thread(self._refresh, self._parts.fleet.given_up)
        self._shutdown.check_staying()
        return with_what_runs(desired, self._parts.fleet.select(None))

    def _changes(self, desired: DesiredState) -> Changes:
        """Return what a desired state changes; what could not be started is tried again."""
        changes = self._parts.changes_to(desired)
        again = {
            one.name
            for one in self._parts.fleet.select(None)
            if one.state is State.FATAL and one.spec.model not in desired.away and could_not_start(one)
        }
        return replace(
            changes,
            changed=(
                *changes.changed,
                *(Change(one, (NOT_STARTED,)) for one in changes.unchanged if one.name in again),
            ),
            unchanged=tuple(one for one in changes.unchanged if one.name not in again),
        )

    async def _follow(self, desired: DesiredState) -> ReloadReport:
        parts, changes = self._parts, self._changes(desired)
        report = self._report(desired, changes, dry_run=False)
        door = parts.doors.make(desired.config)
        upstreams = await asyncio.to_thread(upstream_plan, desired.config, parts.doors.listener.addresses)
        self._journal.info("reload.begins", settings=len(report.settings), replicas=len(changes.changed))
        parts.notifier.reloading()
        try:
            parts.follow(desired, door)
            parts.upstreams.follow(upstreams.sources)
            states = await parts.fleet.apply(changes)
        finally:
            parts.view.changed()
            parts.notifier.ready(parts.counts())
        replicas = {one.name: one for one in parts.fleet.select(None)}
        down = {name: why for name in states if (one := replicas.get(name)) and (why := why_down(parts, one))}
        came_out = {name: state.value for name, state in states.items()}
        return msgspec.structs.replace(report, replicas=came_out, not_started=down)

    def _report(self, desired: DesiredState, changes: Changes, *, dry_run: bool) -> ReloadReport:
        return reload_report(self._parts.desired.config, desired.config, changes, dry_run=dry_run)


def with_what_runs(desired: DesiredState, replicas: Iterable[Replica]) -> DesiredState:
    """Return a desired state in which replicas that run, and whose files are not there now, stay as they are.

    The files that they have opened are still theirs: a new plan could only end them.
    """
    stays = {one.name: one.wanted for one in replicas if one.state not in DOWN}
    return replace(
        desired,
        plan=tuple(stays.get(one.name, one) if one.model in desired.away else one for one in desired.plan),
    )


def could_not_start(replica: Replica) -> bool:
    """Return whether it was given up before it had a process."""
    last = replica.status().last_exit
    return last is not None and last.cause is Cause.SPAWN_FAILED


def reload_report(old: Config, new: Config, changes: Changes, *, dry_run: bool) -> ReloadReport:
    """Return what a reload changes."""
    settings = changed_settings(old, new)
    return ReloadReport(
        dry_run=dry_run,
        settings=[SettingReport(one.key, one.old, one.new, one.live) for one in settings],
        added=[planned.name for planned in changes.added],
        removed=[planned.name for planned in changes.removed],
        changed={change.planned.name: list(change.reasons) for change in changes.changed},
        unchanged=[planned.name for planned in changes.unchanged],
        models=_without_restart(old, new, changes),
    )


def _without_restart(old: Config, new: Config, changes: Changes) -> dict[str, list[str]]:
    """Return the settings of models that change no process; those of a replica that does are its reasons."""
    restarted = {change.planned.model for change in changes.changed}
    found: dict[str, list[str]] = {}
    for model, settings in changed_lines(old, new).items():
        for name, how in settings.items():
            if name == "aliases" or model not in restarted:
                found.setdefault(model, []).append(f"{name}: {how}")
    return found
