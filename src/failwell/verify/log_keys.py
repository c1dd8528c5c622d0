"""The names and keys that a log has had: who signs a tree of which size, and which of them follow from which.

Reads the entries `genesis`, `log.key` (a new key, by a note that old and new key both signed; C2SP signed-note) and
`continued` (a new origin, after entries were lost). Trusting one key from outside is enough: forward, each new key is
signed by the one before; backward, a sealed entry names it. A continuity break carries no trust forward: that a person
ordered it is `powers`' to show, that the new key is the log's is for whoever trusts that person to say.

Standard library only. Which keys to trust is not decided here.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from failwell.core import note
from failwell.core.errors import FailwellError
from failwell.core.note import Verify
from failwell.verify.envelope import ORDER, Envelope
from failwell.verify.finding import KEYS, Break, Findings

BEGUN: Final = "begun"
ROTATED: Final = "rotated"
CONTINUED: Final = "continued"
#: A rotation whose statement does not hold: nothing is trusted through it.
BROKEN: Final = "broken"


class Era(NamedTuple):
    """From entry `since` on: trees that hold that entry bear `origin` and are signed by `key` (vkey)."""

    since: int
    origin: str
    key: str
    how: str
    #: What the guard had signed before a continuity break, as far as the entry says.
    lost_size: int | None = None


class LogKeys:
    """Takes the entries that name or change a log's origin and key, in order."""

    def __init__(self, findings: Findings, verify: Verify) -> None:
        self._findings = findings
        self._verify = verify
        self.eras: list[Era] = []

    def begin(self, entry: Envelope) -> None:
        """Entry 0."""
        self.eras.append(Era(0, entry.origin, entry.body.log_key, BEGUN))

    def rotate(self, seq: int, entry: Envelope) -> None:
        """A `log.key` entry: the key changes, the origin stays."""
        body = entry.body
        wrong = self._rotation_fault(entry.origin, body)
        if wrong is not None:
            self._findings.add(KEYS, "key.statement", f"entry {seq} changes the log key: {wrong}", entry=seq)
        self.eras.append(Era(seq, entry.origin, body.key, BROKEN if wrong else ROTATED))

    def _rotation_fault(self, origin: str, body: Any) -> str | None:
        if self.eras and body.was != self.eras[-1].key:
            return "what it replaces is not the key in force"
        try:
            was, key = note.open_change(body.statement.encode(), self._verify)
        except (FailwellError, UnicodeEncodeError) as error:
            return error.message if isinstance(error, FailwellError) else "the statement is not UTF-8"
        if (was.text(), key.text()) != (body.was, body.key):
            return "its statement is about other keys"
        if key.name != origin:
            return f"the keys are of log {key.name}"
        return None

    def go_on(self, seq: int, entry: Envelope, last: Envelope | None, root: bytes | None) -> None:
        """A `continued` entry: the first under a new origin. `root`: head before its order, None if unknown."""
        for wrong in self._break_faults(seq, entry, last, root):
            self._findings.add(KEYS, "log.continued", f"entry {seq} goes on under another origin: {wrong}", entry=seq)
        self.eras.append(Era(seq, entry.origin, entry.body.key, CONTINUED, entry.body.lost_size))

    def _break_faults(self, seq: int, entry: Envelope, last: Envelope | None, root: bytes | None) -> list[str]:
        body = entry.body
        wrong = []
        if self.eras and body.was != self.eras[-1].origin:
            wrong.append(f"it says that the log was {body.was}")
        if entry.origin in {era.origin for era in self.eras}:
            wrong.append("the log has borne that one before")
        if body.size != seq - 1:  # the head that the person saw who ordered it: the order is not under it
            wrong.append(f"it says that {body.size} entries stand before its order")
        if root is not None and body.root != root.hex():
            wrong.append("the root that it names is not that of the entries before its order")
        # Its order stands directly before it in the same commit, and still bears the old origin.
        if last is not None and (last.kind != ORDER or last.at != entry.at):
            wrong.append("no order stands directly before it")
        try:
            if note.VerifierKey.parse(body.key).name != entry.origin:
                wrong.append("its key is of another log")
        except FailwellError as error:
            wrong.append(error.message)
        wrong.extend(_lost_faults(body))
        return wrong

    @property
    def breaks(self) -> tuple[Break, ...]:
        """Where sealed entries were given up, oldest first."""
        return tuple(
            Break(entry=era.since, size=era.since - 1, lost_size=era.lost_size) for era in self.eras
            if era.how == CONTINUED
        )  # fmt: skip

    def at(self, size: int) -> Era | None:
        """Which origin and key a tree of `size` entries bears."""
        return next((era for era in reversed(self.eras) if era.since < size or era.how == BEGUN), None)

    def of(self, origin: str, size: int) -> Era | None:
        """The same for a head of log `origin`, also one that covers more than that log has entries here."""
        mine = (era for era in reversed(self.eras) if era.origin == origin)
        return next((era for era in mine if era.since < size or era.how == BEGUN), None)

    def ended(self, era: Era) -> Era | None:
        """The continuity break that ended this era's origin."""
        place = self.eras.index(era)
        return next((later for later in self.eras[place + 1 :] if later.how == CONTINUED), None)

    def trusted(self, key: note.VerifierKey) -> int | None:
        """The last era that who trusts `key` can trust, with all before it; None where it is no key of this log."""
        ours = (key.text(), key.name)
        places = [place for place, era in enumerate(self.eras) if (era.key, era.origin) == ours]
        if not places:
            return None
        last = places[-1]
        while last + 1 < len(self.eras) and self.eras[last + 1].how == ROTATED:
            last += 1
        return last


def _lost_faults(body: Any) -> list[str]:
    """What was lost is told by the note that the guard had signed, or not at all."""
    if body.lost_note is None:
        return []
    try:
        lost = note.Checkpoint.parse(note.SignedNote.parse(body.lost_note.encode()).text)
    except (FailwellError, UnicodeEncodeError):
        return ["the lost head that it holds is no checkpoint"]
    if (lost.origin, lost.size, lost.root.hex()) != (body.was, body.lost_size, body.lost_root):
        return ["the lost head that it holds is not the one that it names"]
    return []
