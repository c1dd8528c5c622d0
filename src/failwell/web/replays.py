"""Which signed requests are new: signed within the last minute, after this door began, and not shown before.

What was shown is remembered in memory only, for as long as it could be shown again. So a door that began anew takes
nothing that an earlier one may have taken: what was signed before its start, and for as long as clocks may stand ahead
of ours after it, unless the request says by its nonce that it was signed for this door. Every answer tells its name
(`Failwell-Door`), so that a client signs again and goes on at once.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

from failwell.core.errors import Refused
from failwell.identity.http_signatures import Signed

#: How old a signature may be, and how far the clock that made it may stand ahead of ours.
WINDOW_S: Final = 60
AHEAD_S: Final = 10
#: Requests of one identity, and of all, that are remembered at once: more within a window are refused.
MAX_OF_ONE: Final = 120_000
MAX_OF_ALL: Final = 1_000_000
#: The field that tells a door's name; nonces for it begin with that and a dot.
FIELD: Final = "failwell-door"
_NAMES_DOOR: Final = re.compile(r"[0-9a-f]{16}\.")


class Replays:
    """One door's memory. `now_s`: its clock at its start, seconds since the epoch."""

    def __init__(self, now_s: float, *, of_one: int = MAX_OF_ONE, of_all: int = MAX_OF_ALL) -> None:
        self.door = secrets.token_hex(8)
        self._began_s = now_s
        self._of_one, self._of_all = of_one, of_all
        #: By identity and second of signing: digests of nonces.
        self._seen: dict[str, dict[int, set[bytes]]] = {}
        self._counts: dict[str, int] = {}
        self._all = 0
        self._forgotten_s = 0

    def check(self, signed: Signed, now_s: float) -> None:
        """Raises Refused (code "unauthenticated") for a request of another time."""
        late_s = now_s - signed.created
        if late_s < -AHEAD_S:
            raise _refused(
                f"the request was signed {-late_s:.0f} s ahead of this door's clock, and {AHEAD_S} s are allowed",
                "Set the clock of the machine that signs, or this one's; both follow UTC: timedatectl status",
            )
        if late_s > WINDOW_S:
            raise _refused(
                f"the request was signed {late_s:.0f} s ago by this door's clock, and holds for {WINDOW_S} s",
                "Sign it again when it is sent. If it was, set the machines' clocks: timedatectl status",
            )
        # Attack: our clock is set back, and what was forgotten is new again.
        if signed.created <= self._forgotten_s:
            raise _refused(
                "the request was signed in a time that is over for this door: its clock was set back",
                "Set the clock right and restart the door, or wait until it has caught up.",
            )
        # Attack: what an earlier door took, shown to this one, which remembers nothing of it.
        ours = signed.nonce.startswith(f"{self.door}.")
        if not ours and signed.created <= self._began_s + AHEAD_S:
            raise _refused(
                "this door has begun since the request was signed",
                f"Sign again with a nonce that begins with {self.door}. (the field {FIELD} has it), or in {AHEAD_S} s.",
            )
        # Attack: what another door of this address took, or the one before this whose clock was set back since.
        if not ours and _NAMES_DOOR.match(signed.nonce):
            raise _refused(
                "the request was signed for another door",
                f"Sign again with a nonce that begins with {self.door}. (the field {FIELD} has it).",
            )

    def seen(self, signed: Signed) -> bool:
        """Whether the request was shown before."""
        return _digest(signed) in self._seen.get(_who(signed), {}).get(signed.created, ())

    def take(self, signed: Signed, now_s: float) -> None:
        """Remember a request that holds. Raises Refused where it was shown before, or too many are remembered.

        Attack: the same request shown twice at once. Nothing is awaited between looking and remembering.
        """
        if self.seen(signed):
            raise _refused("the request was shown before: each is taken once", "Sign it again, with a fresh nonce.")
        who = _who(signed)
        self._forget(who, now_s)
        if self._all >= self._of_all:
            for each in tuple(self._seen):
                self._forget(each, now_s)
        if self._counts.get(who, 0) >= self._of_one or self._all >= self._of_all:
            raise Refused(
                f"{self._counts.get(who, 0)} requests of {who} within {WINDOW_S} s", code="busy",
                hint="Ask less often, or over TLS with a certificate, where no request is signed by itself.",
            )  # fmt: skip
        self._seen.setdefault(who, {}).setdefault(signed.created, set()).add(_digest(signed))
        self._counts[who] = self._counts.get(who, 0) + 1
        self._all += 1

    def _forget(self, who: str, now_s: float) -> None:
        """Leave out what could not be shown again."""
        over_s = int(now_s) - WINDOW_S - 1
        kept = self._seen.get(who, {})
        for second in [second for second in kept if second <= over_s]:
            count = len(kept.pop(second))
            self._counts[who] -= count
            self._all -= count
            self._forgotten_s = max(self._forgotten_s, second)
        if not kept:
            self._seen.pop(who, None)
            self._counts.pop(who, None)


def _who(signed: Signed) -> str:
    return f"{signed.role}:{signed.name}"


def _digest(signed: Signed) -> bytes:
    return hashlib.sha256(signed.nonce.encode()).digest()[:16]


def _refused(why: str, hint: str) -> Refused:
    return Refused(why, hint=hint, code="unauthenticated")
