"""What is done to the daemon, by fate and by its operator?"""

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from relayd.errors import DaemonError
from relayd.supervisor.child import Files
from tests.daemons import SuccessorProcess
from tests.soak import timeline as kinds
from tests.soak.injector import Fault, Injector, model_of, outcome_of, send
from tests.soak.world import KNOBS


class DaemonFaults(Injector):
    """Faults of which each needs the daemon, or the place of the daemon, for itself."""

    def faults(self) -> list[Fault]:
        found: list[Fault] = [self.kill_daemon, self.kill_daemon, self.kill_daemon_at_spawn, self.end_daemon]
        found += [
            self.upgrade_daemon,
            self.upgrade_daemon,
            self.pause_daemon,
            self.second_daemon,
            self.reload,
            self.reload_bad,
            self.reload_storm,
        ]
        found += [self.restart_rolling, self.restart_all, self.stop_and_start, self.drain_replica]
        found += [self.damage_stopped, self.damage_records, self.wipe_runtime]
        return [*found, self.start_on_full_disk] if self.world.has_small_disk else found

    async def kill_daemon(self) -> str:
        return await self._next_daemon(lambda: None)

    async def kill_daemon_at_spawn(self) -> str:
        """Kill a replica, and the daemon while it starts the next one."""
        pid, replica = self.choose()
        with self.timeline.window(kinds.CHILD_DIED, model_of(replica)):
            send(pid, signal.SIGKILL)
            await asyncio.sleep(self.chance.uniform(0.03, 0.12))
            return f"{replica} killed, then {await self._next_daemon(lambda: None)}"

    async def _next_daemon(self, between: Callable[[], Any], *, strict: bool = True) -> str:
        """Kill the daemon, do something, and start the next one."""
        world, clock = self.world, asyncio.get_running_loop().time
        if world.daemon is None:
            return "no daemon to kill"
        with self.timeline.window(kinds.DAEMON_KILLED) as window:
            world.daemon.process.kill()
            await world.ended()
            before = {name: pid for pid, name in world.tagged().items()}
            async with world.writable:
                between()
            began = clock()
            await world.start()
        await self.recovered("the next daemon started")
        took = clock() - began
        after = {name: one["pid"] for name, one in (await world.replicas()).items()}
        adopted = [name for name, pid in before.items() if after.get(name) == pid]
        for name in before.keys() - adopted if strict else ():
            met = set(self.timeline.in_force(model_of(name), window.began, clock()))
            if not met & {kinds.CHILD_DIED, kinds.CHILD_HUNG, kinds.FILES_DAMAGED, kinds.DISK_FULL}:
                self.timeline.violate(f"{name} (pid {before[name]}) was not adopted, but {after.get(name)}")
        self.timeline.findings["replicas adopted"] += len(adopted)
        self.timeline.findings["replicas not adopted"] += len(before) - len(adopted)
        return f"SIGKILL to the daemon, {len(adopted)} of {len(before)} adopted, all ready after {took:.2f} s"

    async def end_daemon(self) -> str:
        """End the daemon with replicas kept, as an update does."""
        world = self.world
        if world.daemon is None:
            return "no daemon to end"
        with self.timeline.window(kinds.DAEMON_ENDED):
            world.daemon.process.send_signal(signal.SIGTERM)
            if status := await world.ended():
                self.timeline.violate(f"SIGTERM ended the daemon with status {status}: {world.stderr[-5:]}")
            before = set(world.tagged())
            await world.start()
        await self.recovered("the next daemon started")
        after = {one["pid"] for one in (await world.replicas()).values()}
        return f"SIGTERM to the daemon, {len(before & after)} of {len(before)} adopted by the next"

    async def upgrade_daemon(self) -> str:
        """Put a new daemon in the place of the old one: nobody may notice, so nothing excuses a failure."""
        world, clock = self.world, asyncio.get_running_loop().time
        old, began = world.daemon, clock()
        if old is None:
            return "no daemon to upgrade"
        async with world.writable:
            answer = await self.command("upgrade", drain_seconds=90)
        if answer is None:
            return outcome_of(answer)
        took, before = clock() - began, old.process
        old.process = SuccessorProcess(answer["pid"])
        await asyncio.to_thread(before.wait, 120)
        self.timeline.findings["upgrades"] += 1
        return (
            f"upgrade with {answer['running']} answers under way and {answer['waiting']} waiting: "
            f"{took:.2f} s, both daemons for {clock() - began:.2f} s"
        )

    async def pause_daemon(self) -> str:
        daemon, seconds = self.world.daemon, self.chance.uniform(0.5, 6)
        if daemon is None:
            return "no daemon to pause"
        with self.timeline.window(kinds.DAEMON_PAUSED):
            daemon.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            daemon.process.send_signal(signal.SIGCONT)
        return f"the daemon stood still for {seconds:.1f} s"

    async def second_daemon(self) -> str:
        """Start a daemon beside the one there is: it must say no and disturb nothing."""
        async with self.world.writable:
            second = self.world.new_daemon()
            status = await asyncio.to_thread(second.process.wait, 60)
        await asyncio.to_thread(second.end)
        if status != 5:
            self.timeline.violate(
                f"a second daemon ended with status {status}, not 5: {second.stderr[-300:]}"
            )
        return "a second daemon was started, and said no"

    async def reload(self) -> str:
        with self.timeline.window(kinds.MODEL_REPLACED, "tiny", "extra"):
            knob = self.world.turn_a_knob(self.chance.choice(KNOBS))
            self.world.write_config()
            answer = await self.command("reload")
        return f"reload with other {knob}: {outcome_of(answer)}"

    async def reload_bad(self) -> str:
        pids = set(self.world.tagged())
        self.world.write_config(
            self.chance.choice(["[[model\n", "nonsense = 1\n", '[[model]]\nname = "x"\n', "\0"])
        )
        try:
            await self.world.command("reload")
            self.timeline.violate("a bad file was followed")
        except DaemonError as error:
            told = error.message
        self.world.write_config()
        stayed = len(pids & set(self.world.tagged()))
        return f"bad file: {told[:90]!r}; {stayed} of {len(pids)} processes stayed"

    async def reload_storm(self) -> str:
        """Send 50 SIGHUPs while the file flips between good and bad; the last one is good."""
        if self.world.daemon is None:
            return "no daemon for a storm"
        with self.timeline.window(kinds.MODEL_REPLACED, "tiny", "extra"):
            for number in range(50):
                if number % 3 == 0:
                    self.world.turn_a_knob(self.chance.choice(KNOBS))
                self.world.write_config("nonsense" if number % 4 == 1 else "")
                self.world.daemon.process.send_signal(signal.SIGHUP)
                await asyncio.sleep(0.01)
            self.world.write_config()
            answer = await self.command("reload")
        return f"50 SIGHUPs: {outcome_of(answer)}"

    async def restart_rolling(self) -> str:
        return await self._restart(self.chance.choice(self.world.models).name, rolling=True)

    async def restart_all(self) -> str:
        return await self._restart(self.chance.choice(self.world.models).name, rolling=False)

    async def _restart(self, model: str, *, rolling: bool) -> str:
        answer = await self.command("restart", target=model, rolling=rolling)
        return f"restart of {model}{' --rolling' if rolling else ''}: {outcome_of(answer)}"

    async def stop_and_start(self) -> str:
        return await self._stopped(self.chance.choice(self.world.models).name, lambda: None)

    async def damage_stopped(self) -> str:
        """Remove what a stopped replica left, and leave rubbish in its place."""

        def damage() -> None:
            files = Files.of(self.world.runtime, f"{model}#0")
            files.lock.unlink(missing_ok=True)
            for path in (files.socket, files.key, files.folder / f"{files.stem}.json"):
                self._rubbish(path)

        model = self.chance.choice(self.world.models).name
        return f"rubbish for files: {await self._stopped(model, damage)}"

    async def _stopped(self, model: str, meanwhile: Callable[[], None]) -> str:
        with self.timeline.window(kinds.MODEL_STOPPED, model):
            first = await self.command("stop", target=model)
            still = [name for name in self.world.tagged().values() if model_of(name) == model]
            if first is not None and still:
                self.timeline.violate(f"{still} live after a stop of {model}")
            async with self.world.writable:
                meanwhile()
            await asyncio.sleep(self.chance.uniform(0, 1))
            second = await self.command("start", target=model)
        return f"stop of {model}: {outcome_of(first)}; start: {outcome_of(second)}"

    async def drain_replica(self) -> str:
        _, replica = self.choose()
        with self.timeline.window(kinds.MODEL_STOPPED, model_of(replica)):
            first = await self.command("drain", target=replica)
            second = await self.command("start", target=replica)
        return f"drain of {replica}: {outcome_of(first)}; start: {outcome_of(second)}"

    async def damage_records(self) -> str:
        def damage() -> None:
            for path in self.world.runtime.glob("*.json"):
                if self.chance.random() < 0.5:
                    self._rubbish(path)
            self._rubbish(self.world.runtime / "0123abcd.json")

        with self.timeline.window(kinds.FILES_DAMAGED):
            done = await self._next_daemon(damage, strict=False)
        async with self.world.writable:
            (self.world.runtime / "0123abcd.json").unlink(missing_ok=True)
        return f"records damaged, {done}"

    async def wipe_runtime(self) -> str:
        """Remove every file of the runtime folder between two daemons: nothing may run twice."""

        def wipe() -> None:
            for path in self.world.runtime.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

        with self.timeline.window(kinds.FILES_DAMAGED):
            return f"runtime folder wiped, {await self._next_daemon(wipe, strict=False)}"

    async def start_on_full_disk(self) -> str:
        """Kill the daemon, fill the disks, and see the next one work or refuse in one sentence."""
        world = self.world
        if world.daemon is None:
            return "no daemon to kill"
        with self.timeline.window(kinds.DAEMON_KILLED), self.timeline.window(kinds.DISK_FULL):
            world.daemon.process.kill()
            await world.ended()
            async with world.writable:
                fillers = [world.fill(folder) for folder in (world.runtime, world.state)]
                starter = world.new_daemon()
                try:
                    await asyncio.to_thread(starter.await_event, "listening")
                    alive = True
                except AssertionError:
                    alive = False
                for filler in fillers:
                    filler.unlink(missing_ok=True)
            if alive:
                world.daemon = starter
            else:
                await asyncio.to_thread(starter.end)
                if "Traceback" in starter.stderr:
                    self.timeline.violate(f"on a full disk the daemon crashed: {starter.stderr[-400:]}")
                await world.start()
        await self.recovered("the disks had room again")
        return f"next daemon on full disks: {'it works' if alive else starter.stderr.splitlines()[-1:]}"

    def _rubbish(self, path: Path) -> None:
        choices = [b"", b"{", os.urandom(64), b'{"schema": 99}', b'{"pid": 1}', b"null"]
        with suppress(OSError):  # the disk may be full at the moment
            path.write_bytes(self.chance.choice(choices))
