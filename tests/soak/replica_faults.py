"""What is done to replicas, to their files and to what the system gives?"""

import asyncio
import resource
import signal
from contextlib import suppress

import psutil

from relayd.errors import DaemonError
from relayd.supervisor.child import Files
from tests.soak import timeline as kinds
from tests.soak.injector import Fault, Injector, model_of, send
from tests.soak.surroundings import read_only


class ReplicaFaults(Injector):
    """Faults that may meet any other at any time."""

    def faults(self) -> list[Fault]:
        found: list[Fault] = [self.kill_child, self.kill_child, self.terminate_child, self.crash_child]
        found += [self.abort_child, self.hang_child, self.pause_child, self.kill_model, self.kill_twice]
        found += [self.delete_log, self.exhaust_descriptors, self.remove_socket, self.obstruct_files]
        if self.world.has_small_disk:
            found += [self.fill_disk, self.lock_folder]
        if self.world.memory_group:
            found.append(self.starve_child)
        return [*found, self.step_clock] if self.world.clock else found

    async def _signal(self, number: signal.Signals, kind: str = kinds.CHILD_DIED) -> str:
        pid, replica = self.choose()
        with self.timeline.window(kind, model_of(replica)):
            send(pid, number)
            seconds = await self.replaced(replica, pid)
        return f"{number.name} to {replica} (pid {pid}){seconds}"

    async def kill_child(self) -> str:
        return await self._signal(signal.SIGKILL)

    async def terminate_child(self) -> str:
        return await self._signal(signal.SIGTERM)

    async def crash_child(self) -> str:
        return await self._signal(signal.SIGSEGV)

    async def abort_child(self) -> str:
        return await self._signal(signal.SIGABRT)

    async def hang_child(self) -> str:
        return await self._signal(signal.SIGSTOP, kinds.CHILD_HUNG)

    async def pause_child(self) -> str:
        pid, replica = self.choose()
        seconds = self.chance.uniform(0.2, 2)
        with self.timeline.window(kinds.CHILD_HUNG, model_of(replica)):
            send(pid, signal.SIGSTOP)
            await asyncio.sleep(seconds)
            send(pid, signal.SIGCONT)
        return f"{replica} (pid {pid}) stood still for {seconds:.1f} s"

    async def kill_model(self) -> str:
        _, replica = self.choose()
        model = model_of(replica)
        pids = {pid: name for pid, name in self.world.tagged().items() if model_of(name) == model}
        with self.timeline.window(kinds.CHILD_DIED, model):
            for pid in pids:
                send(pid, signal.SIGKILL)
            seconds = [await self.replaced(name, pid) for pid, name in pids.items()]
        return f"SIGKILL to all of {model}{seconds[-1] if seconds else ', which has none'}"

    async def kill_twice(self) -> str:
        """Kill a replica, and its successor as soon as that lives."""
        pid, replica = self.choose()
        with self.timeline.window(kinds.CHILD_DIED, model_of(replica)):
            send(pid, signal.SIGKILL)
            for _ in range(100):
                successor = next(
                    (one for one, name in self.world.tagged().items() if name == replica and one != pid),
                    None,
                )
                if successor:
                    send(successor, signal.SIGKILL)
                    break
                await asyncio.sleep(0.02)
            seconds = await self.replaced(replica, successor or pid)
        return f"SIGKILL to {replica} and to its successor{seconds}"

    async def delete_log(self) -> str:
        log = self.chance.choice(sorted((self.world.state / "relayd" / "logs").glob("*.?.log")))
        log.unlink(missing_ok=True)
        return f"deleted {log.name}"

    async def step_clock(self) -> str:
        """Step the daemon's wall clock by a day and back: nothing may come of it, so nothing excuses it."""
        assert self.world.clock
        day = self.chance.choice((86_400, -86_400))
        for step in (day, 0):
            self.world.clock.step(step)
            await asyncio.sleep(self.chance.uniform(1, 3))
        return f"the daemon's clock was off by {day} s and is right again"

    async def starve_child(self) -> str:
        """Leave a replica no memory, so that the kernel ends it, and see that this is told."""
        assert self.world.memory_group
        pid, replica = self.choose()
        if not pid:  # to the kernel, that is us
            return "no replica that could be starved"
        with self.timeline.window(kinds.CHILD_DIED, model_of(replica)):
            self.world.memory_group.take(pid, 1 << 16)
            if not await self._gone(pid):
                send(pid, signal.SIGKILL)  # it had nothing to do that takes memory
            seconds = await self.replaced(replica, pid)
            one = (await self.world.replicas()).get(replica, {})
            cause, reduced = (one.get("last_exit") or {}).get("cause"), one.get("reduced")
            if cause == "out of host memory":
                self.timeline.findings["kills by the kernel, told as such"] += 1
            if reduced:
                with suppress(DaemonError):  # it may be killed meanwhile; the next one starts it whole
                    await self.world.command("restart", target=replica)
        return f"no memory for {replica} (pid {pid}){seconds}, told: {cause}, reduced: {reduced}"

    async def _gone(self, pid: int) -> bool:
        """Wait until a process has ended, and return whether it has."""
        for _ in range(150):
            if pid not in self.world.tagged():
                return True
            await asyncio.sleep(0.1)
        return False

    async def lock_folder(self) -> str:
        """Let nobody write to the runtime or state folder, and kill a replica meanwhile."""
        folder = self.chance.choice([self.world.runtime, self.world.state])
        seconds = self.chance.uniform(0.5, 2)
        pid, replica = self.choose()
        with self.timeline.window(kinds.DISK_FULL), self.timeline.window(kinds.CHILD_DIED, model_of(replica)):
            async with self.world.writable:
                with read_only(folder):
                    send(pid, signal.SIGKILL)
                    await asyncio.sleep(seconds)
            took = await self.replaced(replica, pid)
        return f"{folder.name} read-only for {seconds:.1f} s, {replica} killed meanwhile{took}"

    async def remove_socket(self) -> str:
        """Take the socket from under a living replica: it answers no more, and must be replaced."""
        pid, replica = self.choose()
        file = Files.of(self.world.runtime, replica).socket
        if not file.exists():
            return f"{replica} has no socket yet that could be removed"
        with self.timeline.window(kinds.CHILD_HUNG, model_of(replica)):
            file.unlink(missing_ok=True)
            seconds = await self.replaced(replica, pid)
        return f"removed the socket of {replica}{seconds}"

    async def obstruct_files(self) -> str:
        """Put folders where a replica has its socket and key, and kill it: it waits until they are gone."""
        pid, replica = self.choose()
        files = Files.of(self.world.runtime, replica)
        seconds = self.chance.uniform(0.5, 2)
        with self.timeline.window(kinds.CHILD_DIED, model_of(replica)):
            for path in (files.socket, files.key):
                path.unlink(missing_ok=True)
                path.mkdir(exist_ok=True)
            send(pid, signal.SIGKILL)
            await asyncio.sleep(seconds)
            for path in (files.socket, files.key):
                with suppress(OSError):  # the daemon may have begun anew meanwhile
                    path.rmdir()
            took = await self.replaced(replica, pid)
        return f"folders for files of {replica} for {seconds:.1f} s{took}"

    async def exhaust_descriptors(self) -> str:
        daemon = self.world.daemon
        if daemon is None:
            return "no daemon whose descriptors could be exhausted"
        pid, seconds = daemon.process.pid, self.chance.uniform(1, 3)
        with self.timeline.window(kinds.NO_DESCRIPTORS), suppress(ProcessLookupError, psutil.Error):
            soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (psutil.Process(pid).num_fds() + 1, hard))
            try:
                victim, replica = self.choose()
                with self.timeline.window(kinds.CHILD_DIED, model_of(replica)):
                    send(victim, signal.SIGKILL)
                    await asyncio.sleep(seconds)
            finally:
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
            await self.recovered("descriptors came back", model_of(replica))
        return f"no descriptors for {seconds:.1f} s, {replica} killed meanwhile"

    async def fill_disk(self) -> str:
        folder = self.chance.choice([self.world.runtime, self.world.state])
        seconds = self.chance.uniform(1, 3)
        filler = self.world.fill(folder)
        try:
            with self.timeline.window(kinds.DISK_FULL):
                victim, replica = self.choose()
                with self.timeline.window(kinds.CHILD_DIED, model_of(replica)):
                    send(victim, signal.SIGKILL)
                    await asyncio.sleep(seconds)
                    filler.unlink(missing_ok=True)
                    await self.recovered("the disk had room again", model_of(replica))
        finally:
            filler.unlink(missing_ok=True)
        return f"{folder.name} full for {seconds:.1f} s, {replica} killed meanwhile"
