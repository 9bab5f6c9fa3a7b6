"""Which flags distinguish the command line of a running llama-server from another one."""

from collections.abc import Iterator, Sequence

from relayd.engine.reserved import canonical

MADE_ANEW = frozenset({"--host", "--port", "--api-key-file"})
"""Flags that each start of a replica gives anew."""


def flags_of(command: Sequence[str]) -> list[tuple[str, ...]]:
    """Return each flag with its values; what comes before the first one stands alone."""
    found: list[tuple[str, ...]] = []
    for arg in command:
        if not found or (arg.startswith("-") and not arg[1:2].isdigit()):
            found.append((canonical(arg),))
        else:
            found[-1] = (*found[-1], arg)
    return found


def differences(running: Sequence[str], planned: Sequence[str]) -> tuple[str, ...]:
    """Return the flags of a running server that another command line has otherwise, in its order.

    Program, address and key file are left out. Each reads `--ctx-size 4096 (planned 8192)`.

    Args:
        running: The argv of a process.
        planned: The argv that it would be started with now.
    """
    return tuple(_differences(_by_flag(running), _by_flag(planned)))


def _differences(running: dict[str, tuple[str, ...]], planned: dict[str, tuple[str, ...]]) -> Iterator[str]:
    for flag, values in planned.items():
        now, then = running.get(flag), " ".join(values)
        if now is None:
            yield f"without {' '.join((flag, *values))}"
        elif now != values:
            yield f"{' '.join((flag, *now))} (planned {then or 'without a value'})"
    for flag, values in running.items():
        if flag not in planned:
            yield f"{' '.join((flag, *values))} (not planned)"


def _by_flag(command: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return flag -> values; those of a flag that is given several times follow one another."""
    found: dict[str, tuple[str, ...]] = {}
    for flag, *values in flags_of(command[1:]):
        if flag not in MADE_ANEW:
            found[flag] = (*found.get(flag, ()), *values)
    return found
