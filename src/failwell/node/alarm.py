"""The alarm of a record that may not be written to, or of a gate that is shut since tools cannot be stopped: operators
are told by mail, since no page can be recorded, or none is anybody's.

Best effort and at most once for each reason and boot: a node starts with every command, and the tenth mail says nothing
new. What was sent stands in no entry, for there can be none; `failwell doctor` says the same.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

from failwell.core.errors import FailwellError
from failwell.ledger.jobs import Plan, Turn
from failwell.ledger.writer import Writer
from failwell.ports.guard import Sealed
from failwell.ports.notifier import Mail, Notifier

ROLE = "operator"


class Alarm:
    """Tells every operator with a mail address what is wrong. `said`: directory of what was sent."""

    def __init__(self, writer: Writer, notifier: Callable[[], Notifier | None], origin: str, said: Path) -> None:
        self._writer = writer
        self._notifier = notifier
        self._origin = origin
        self._said = said

    def give(self, why: FailwellError, newest: Sealed | None, *, shut: bool = False) -> None:
        """Say why the record is read-only, or with `shut` why nothing starts though it is written.

        Sent in a thread of its own; whatever fails is left for the next start.
        """
        threading.Thread(target=self._give, args=(why, newest, shut), name="alarm", daemon=True).start()

    def _give(self, why: FailwellError, newest: Sealed | None, shut: bool) -> None:
        notifier = self._notifier()
        if notifier is None:
            return
        try:
            addresses = self._writer.submit(_operators).result()
        except FailwellError:
            return
        text = _text(self._origin, why, newest, shut)
        state = "lets nothing start" if shut else "is read-only"
        for address in addresses:
            once = hashlib.sha256(f"{self._origin}\n{why.message}\n{address}".encode()).hexdigest()[:24]
            mark = self._said / f"alarm-{once}"
            if mark.exists():
                continue
            mail = Mail(
                to=address, subject=f"[Failwell] the record {self._origin} {state}", text=text,
                message_id=f"<alarm-{once}@failwell.invalid>",
            )  # fmt: skip
            try:
                notifier.send(mail)
                mark.touch(mode=0o600)
            except (FailwellError, OSError):
                continue


def _operators(turn: Turn) -> Plan[list[str]]:
    found = []
    for row in turn.state.person.values():
        secret = turn.secret(row.enrolled) if ROLE in row.roles else None
        if secret is not None and "email" in secret:
            found.append(str(secret["email"]))
    return Plan((), lambda _: found)


def _text(origin: str, why: FailwellError, newest: Sealed | None, shut: bool) -> str:
    lines = (
        [
            f"Nothing is permitted any more: {why.message}.",
            "You are asked to: find out what changed on this machine. Run: failwell doctor",
            "",
            f"Record {origin}. It is tested again every minute, and opens by itself once a test passes.",
        ]
        if shut
        else [
            f"Nothing is permitted or recorded any more: {why.message}.",
            "You are asked to: find out which copy of the record this is. Run: failwell doctor",
            "",
            f"Record {origin}. {why.hint or ''}".rstrip(),
            "Orders to suspend are kept in orders/ and carried out by the first node that may write.",
        ]
    )
    if newest is not None:
        lines += ["", "The last checkpoint that its guard signed:", "", newest.note.decode().rstrip("\n")]
    return "\n".join(lines) + "\n"
