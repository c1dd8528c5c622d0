"""A line and a bell on the terminals of people who are logged in on this machine, where they allow it (mesg(1)).

A terminal obeys what is written to it, so only printable ASCII is: to one that does not read UTF-8, the letters of
another language are commands.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from failwell.core.instants import format_at
from failwell.notify.message import clean_line
from failwell.ports.clock import Clock
from failwell.ports.notifier import Message, NotifyFailed, Receipt

WHERE: Final = Path("/dev/pts")
BELL: Final = "\a"


class Terminal:
    """`users` may be told; none named: the user that the node runs as."""

    provider = "this machine's terminals"

    def __init__(self, users: tuple[str, ...], clock: Clock, where: Path = WHERE) -> None:
        self._users = users
        self._clock = clock
        self._where = where

    def tell(self, message: Message) -> Receipt:
        """Write it to each; NotifyFailed where there is none that takes it."""
        text = "\r\n".join(["", *(clean_line(line, 200) for line in lines_of(message)), ""])
        told = [name for name in self._open_to_us() if _write(self._where / name, f"{BELL}{text}")]
        if not told:
            raise NotifyFailed(
                "nobody is logged in here whose terminal takes messages", temporary=True, hint="mesg y allows them."
            )
        detail = f"written to {len(told)} terminal{'' if len(told) == 1 else 's'}"
        return Receipt(accepted=True, detail=detail, at=format_at(self._clock.wall_us()))

    def _open_to_us(self) -> Iterator[str]:
        """Terminals of these users that let their group write: that is what `mesg y` sets."""
        ids = {pwd.getpwnam(name).pw_uid for name in self._users if _known(name)} if self._users else {os.getuid()}
        try:
            names = sorted(each.name for each in self._where.iterdir() if each.name.isdigit())
        except OSError:
            return
        for name in names:
            try:
                found = (self._where / name).stat()
            except OSError:
                continue
            if stat.S_ISCHR(found.st_mode) and found.st_uid in ids and found.st_mode & stat.S_IWGRP:
                yield name


def lines_of(message: Message) -> list[str]:
    """What fits on a terminal: the subject, and the first two lines."""
    said = {"trigger": "", "acknowledge": "Taken: ", "resolve": "Over: "}[message.action]
    more = message.text.strip().split("\n")[:2] if message.action == "trigger" else []
    return [f"{said}{message.subject}", *more, *([message.link] if message.link and more else [])]


def _known(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _write(place: Path, text: str) -> bool:
    """Attack: a terminal that takes nothing (stopped by its user) holds no page up."""
    try:
        line = os.open(place, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        written = os.write(line, text.encode("ascii", "replace"))
    except OSError:
        return False
    finally:
        os.close(line)
    return written > 0
