"""The nursery: a small process with everything loaded that forks supervisors in advance (design D27).

Run as `python -I -S nursery.py FD`, FD being one end of a socket pair to the node. For every message it forks one
supervisor, twice, so that the supervisor becomes the node's own child (the node is a subreaper), and hands the node
the socket to it. It sees no launch: those go over that socket, of which it keeps nothing. It ends with the node.
Standard library only. It does not decide how many stand by, and does not look after what it forked.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING or __package__:
    from failwell.execute.frames import FrameReader, encode_frame
    from failwell.execute.start import die_with_parent, outlive_parent
    from failwell.execute.supervisor import Supervisor
else:
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))  # last: nothing of ours shadows the library
    from frames import FrameReader, encode_frame
    from start import die_with_parent, outlive_parent
    from supervisor import Supervisor

NONE_FORKED = b"0"
"""What the node is told when there is no supervisor for its message; otherwise the pid of one, and its socket."""


def main(control: int) -> None:
    """Fork one supervisor for each message, until the node is gone."""
    node = os.getppid()
    die_with_parent()
    if os.getppid() != node:
        return  # it died before the death signal was armed
    os.chdir("/")
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    import fcntl  # noqa: F401  what a supervisor imports when it starts a tool is here already

    gc.collect()
    gc.freeze()  # a collection in one that stands by would copy the pages that all of them share
    with socket.socket(fileno=control) as asking, contextlib.suppress(ConnectionError):  # the node has closed it
        while asking.recv(16):
            _bear(asking, node)


def _bear(asking: socket.socket, node: int) -> None:
    """Fork a supervisor and hand it over, or say that there is none."""
    try:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            pid = _fork_twice(asking, ours, theirs, node)
            # INVARIANT: only now, after the process between us has been collected, is it the node's child.
            ours.send(b"\0")
            socket.send_fds(asking, [str(pid).encode()], [ours.fileno()])
    except OSError:  # no more processes or descriptors: what was forked ends with its socket
        asking.send(NONE_FORKED)


def _fork_twice(asking: socket.socket, ours: socket.socket, theirs: socket.socket, node: int) -> int:
    """Give the pid of a supervisor whose parent has ended; raises OSError when there is none."""
    there, telling = os.pipe()
    try:
        middle = os.fork()
        if middle == 0:
            try:
                pid = os.fork()
                if pid == 0:
                    for fd in (asking.detach(), ours.detach(), there, telling):
                        os.close(fd)
                    _stand_by(theirs.detach(), node)
                else:
                    os.write(telling, str(pid).encode())
            except BaseException as error:  # noqa: BLE001 - a forked child must never return into our loop
                os.write(2, f"supervisor: {type(error).__name__}: {error}\n".encode())
                os._exit(1)
            finally:
                os._exit(0)
        os.close(telling)
        telling = -1
        told = os.read(there, 16)
        os.waitpid(middle, 0)
    finally:
        os.close(there)
        if telling >= 0:
            os.close(telling)
    if not told:
        raise OSError("the process between could not fork")
    return int(told)


def _stand_by(control: int, node: int) -> None:
    """Be a supervisor that waits for its launch; the node's death ends it, also while it is stopped."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not os.read(control, 1) or os.getppid() != node:
        return
    _rehearse()
    die_with_parent()
    if os.getppid() == node:
        Supervisor(control, leave=_leave).run()


def _rehearse() -> None:
    """Go once through what lies between a launch and its start: what a fork shares is slow when it is first touched."""
    reader = FrameReader()
    reader.feed(encode_frame({"kind": "launch", "command": ["true"], "env": {"PATH": "/bin"}, "cwd": None}, b"x"))
    reader.take()
    for fd in os.pipe():
        os.close(fd)


def _leave() -> None:
    """Go one's own way with a launch: in a session of one's own, which tells it and all that it starts from those
    that stand by, and outliving the node for as long as it takes to stop the tool.
    """
    outlive_parent()
    os.setsid()


if __name__ == "__main__":
    main(int(sys.argv[1]))
