"""A tool that resists: ignores signals, forks a child, and double-forks a grandchild into its own session.

Used by the start-up self-test. Run as `python -I -S resisting.py`; prints one line when all three exist, and
then does nothing for at most a minute. It opens no file and no socket. Standard library only.
"""

from __future__ import annotations

import os
import signal
import sys
import time

LIFETIME_S = 60


def _resist() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def main() -> None:
    """Fork, detach, say that it stands, and wait to be killed."""
    _resist()
    ready, stands = os.pipe()
    if os.fork() == 0:
        os.write(stands, b"c")
        time.sleep(LIFETIME_S)
        os._exit(0)
    middle = os.fork()
    if middle == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(stands, b"g")
            time.sleep(LIFETIME_S)
        os._exit(0)
    os.waitpid(middle, 0)
    got = b""
    while len(got) < 2:
        got += os.read(ready, 2)
    sys.stdout.write("standing\n")
    sys.stdout.flush()
    time.sleep(LIFETIME_S)


if __name__ == "__main__":
    main()
