"""What each process of a tool may take of the machine, by setrlimit(2), set between fork and exec.

Standard library only, and no neighbour: the supervisor imports this file alone. A limit holds for each process by
itself, not for a family together, and a tool that runs as root can lift it again.
"""

from __future__ import annotations

import resource
import signal

#: setrlimit's names in lower case without RLIMIT_, and what a person calls them.
NAMES = {
    "cpu": (resource.RLIMIT_CPU, "seconds of CPU time"),
    "as": (resource.RLIMIT_AS, "bytes of memory"),
    "fsize": (resource.RLIMIT_FSIZE, "bytes in a file"),
    "nofile": (resource.RLIMIT_NOFILE, "open files"),
}
#: A core dump would lay the tool's memory, its secrets in clear, on the disk, and a process that is being dumped is
#: not killed until it is done. 0 forbids the file alone; 1 is too little for one too, and is the kernel's word for
#: "not into a pipe either" (core(5), fs/coredump.c).
NO_CORE = (1, 1)

#: What is to be set: (resource, (soft, hard), words).
Limits = list[tuple[int, tuple[int, int], str]]


def read_limits(limits: dict[str, object]) -> Limits:
    """Check limits; raises ValueError for what is no limit.

    A process that reaches its CPU time is told by SIGXCPU, and killed a second later if it does not listen.
    """
    found = []
    for name, value in limits.items():
        if name not in NAMES:
            raise ValueError(f"there is no limit {name!r}: {', '.join(sorted(NAMES))}")
        if type(value) is not int or value < 0:
            raise ValueError(f"the limit {name} is {value!r}, and not a number from 0")
        number, words = NAMES[name]
        found.append((number, (value, value + 1 if name == "cpu" else value), f"{value} {words}"))
    return found


def apply_limits(limits: Limits) -> None:
    """Set them on this process; raises OSError with a reason, and the tool must then not be executed."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0) if hard == 0 else NO_CORE)
    for number, wanted, words in limits:
        _, most = resource.getrlimit(number)
        try:
            resource.setrlimit(number, wanted)
        except (ValueError, OSError) as error:
            allowed = "" if most == resource.RLIM_INFINITY else f" (this user may have at most {most})"
            raise OSError(0, f"cannot limit the tool to {words}: {_why(error)}{allowed}") from None


def explain_signal(number: int, limits: dict[str, object]) -> str:
    """Say which limit a tool was killed for, as far as its signal tells."""
    said = f"signal {number}"
    if number == signal.SIGXCPU and "cpu" in limits:
        return f"{said}: it reached its limit of {limits['cpu']} {NAMES['cpu'][1]}"
    if number == signal.SIGXFSZ and "fsize" in limits:
        return f"{said}: it reached its limit of {limits['fsize']} {NAMES['fsize'][1]}"
    if number == signal.SIGKILL and "cpu" in limits:
        return f"{said}: killed by somebody else, or for its limit of {limits['cpu']} {NAMES['cpu'][1]}"
    return said


def _why(error: Exception) -> str:
    return str((isinstance(error, OSError) and error.strerror) or error)
