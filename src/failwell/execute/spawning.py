"""Starting our own small processes from the node: supervisors, and the nursery that forks them in advance.

Each gets one end of a socket pair as its only argument, an interpreter that loads nothing of a site, a session of its
own (a terminal's Ctrl-C is not for it) and next to nothing of our environment. It does not speak to them.
"""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

_INHERITED = ("LD_LIBRARY_PATH",)


def spawn_beside(interpreter: str, script: str, kind: int) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Run a script of this directory with a socket of this kind to it; raises OSError when nothing was started."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    with theirs:
        try:
            child = subprocess.Popen(
                [interpreter, "-I", "-S", str(Path(__file__).with_name(script)), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=None if _is_open(2) else subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env=_environment(),
            )
        except OSError:
            ours.close()
            raise
    ours.setblocking(False)
    return child, ours


def _environment() -> dict[str, str]:
    """Nothing but what the interpreter may need to load."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {"PATH": os.defpath, "LC_ALL": "C", **kept}


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
