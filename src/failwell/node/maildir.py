"""The inbox: mails that a mail server delivered into a maildir, each judged once (qmail's maildir(5)).

A mail that was judged is named in `cur` and not looked at again; one that could not be, because the ledger does not
write, stays where it is. Nothing is deleted: an answer is evidence.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from failwell.core.errors import FailwellError, InputError, NotFound, Refused
from failwell.notify.mime import MAX_READ

if TYPE_CHECKING:
    from failwell.node.service import Node

#: How often it is looked, and how many mails are taken at a time.
LOOK_EVERY_S = 2.0
AT_ONCE = 20
#: So long may one mail take to be judged, or the looking itself until it is said to hang.
WITHIN_S = 30.0


class Maildir:
    """The inbox of one node, where the settings declare one. `tick` is called by the node's loop; it waits for nothing.

    Attack: a mailbox on a file system that hangs. It has a thread of its own, so that what is due goes on without it.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._due_s = self._since_s = 0.0
        self._looking: threading.Thread | None = None
        #: Mails that were judged and could not be moved: judged again, a bounce would be on record without end.
        self._judged: set[str] = set()
        #: Why the newest look failed; None since one did not.
        self.failed: str | None = None

    def tick(self, now_s: float) -> None:
        """Look for what came in, unless that is under way."""
        mail = self._node.settings.mail
        inbox = None if mail is None else mail.inbox
        if inbox is None or inbox.path is None:
            self.failed = None
            return
        if self._looking is not None and self._looking.is_alive():
            if now_s > self._since_s + WITHIN_S:
                self.failed = f"{inbox.path}: looking there hangs"
            return
        if now_s >= self._due_s:
            self._since_s, self._due_s = now_s, now_s + LOOK_EVERY_S
            place = self._node.workspace.path / inbox.path
            self._looking = threading.Thread(target=self._look, args=(place,), name="inbox", daemon=True)
            self._looking.start()

    def _look(self, place: Path) -> None:
        """On a thread of its own. Whatever goes wrong is told, and it is looked again."""
        failed = None
        try:
            for name in _new(place, self._judged):
                failed = self._take(place, name) or failed
            if self._judged:
                failed = "what was judged cannot be moved to cur; the node's user writes to new and cur"
        except OSError as error:
            failed = f"{error.strerror}; the node's user reads, writes and enters its new and cur"
        except (RuntimeError, TimeoutError):
            failed = "the node ends, or is too busy to judge what came in"
        self.failed = None if failed is None else f"{place}: {failed}"

    def _take(self, place: Path, name: str) -> str | None:
        """Judge one mail and put it aside. Answers why it stays: one that is judged later holds up no other."""
        content = _read(place / "new" / name)
        if content is not None:
            try:
                self._judge(content)
            except (Refused, InputError, NotFound):
                self._node.refusals.count("inbox", "no answer that holds")
            except FailwellError as error:  # the ledger does not write now
                return error.message
            except (RuntimeError, TimeoutError):
                raise
            except Exception as error:  # noqa: BLE001  one that we cannot judge is put aside: it would hold up the rest
                self._node.refusals.count("inbox", f"could not be judged ({type(error).__name__})")
        self._judged.add(name)
        with contextlib.suppress(OSError):
            (place / "new" / name).rename(place / "cur" / f"{name}:2,S")
            self._judged.discard(name)
        return None

    def _judge(self, content: bytes) -> None:
        judging = self._node.answering.take_mail(content)
        try:
            future = asyncio.run_coroutine_threadsafe(judging, self._node.loop)
        except RuntimeError:
            judging.close()  # the loop is gone
            raise
        future.result(WITHIN_S)


def _new(place: Path, judged: set[str]) -> list[str]:
    """What is new, the oldest first: their names begin with the time."""
    names = (each.name for each in (place / "new").iterdir())
    return sorted(name for name in names if not name.startswith(".") and name not in judged)[:AT_ONCE]


def _read(path: Path) -> bytes | None:
    """The beginning of a mail; None for what is none: a link, a directory, a pipe.

    Attack: a link to a file of somebody else's, whose text would come to lie in the record.
    """
    try:
        line = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _beginning(line) if stat.S_ISREG(os.fstat(line).st_mode) else None
    finally:
        os.close(line)


def _beginning(line: int) -> bytes:
    found = b""
    while len(found) < MAX_READ and (more := os.read(line, MAX_READ - len(found))):
        found += more
    return found
