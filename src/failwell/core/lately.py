"""What entries said of late that what follows from them in the same commit needs, and that no row holds."""

from __future__ import annotations

from failwell.core import kinds, rows

#: So many reports are kept at hand; each is answered in its own commit.
KEPT = 64


class Lately:
    """INVARIANT: it is told by entries alone, and asked only in the commit of the entry that it is about."""

    def __init__(self) -> None:
        #: Actions that came to no good end, by their outcome's entry, until their signal is written.
        self.ended: dict[int, rows.Action] = {}
        #: What somebody else than the gate noticed, by its entry.
        self.noticed: dict[int, kinds.Noticed] = {}

    def note(self, seq: int, body: kinds.Noticed) -> None:
        """Keep a report at hand; the oldest goes."""
        if len(self.noticed) >= KEPT:
            del self.noticed[next(iter(self.noticed))]
        self.noticed[seq] = body
