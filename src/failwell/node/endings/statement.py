"""What a class makes of the end of an action: the words that its modules share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from failwell.ports.executor import Ended, State

#: Ends that nobody's stop brought about.
BY_ITSELF = ("completed", "failed")


class Shown(NamedTuple):
    """A stop that nobody could confirm, shown since: by what, when (boot clock), and what it came to."""

    proven_by: str
    ended_us: int
    state: State = "interrupted_confirmed"


class Proof(NamedTuple):
    """How an unconfirmed stop may be shown later. `look` gives what it found, or why that is no proof yet.

    It is asked again after each of `pauses_s` (seconds); after the last one nobody asks any more. `whose`: the tool or
    database that is asked; one that does not answer keeps no other waiting.
    """

    look: Callable[[], Shown | str]
    pauses_s: Iterable[float]
    whose: str = ""


class Statement(NamedTuple):
    """What is said of an end, and how more may be said later."""

    end: Ended
    later: Proof | None = None


class CutShort(NamedTuple):
    """The end of an action whose node died. `reported`: its supervisor said how it ended."""

    end: Ended
    ordered: bool
    reported: bool


class Ending(Protocol):
    """How one action of a class ends. Made before it starts."""

    def ordered(self) -> None:
        """It was told to stop. Called from any thread, maybe twice; must not wait."""
        ...

    def say(self, end: Ended, *, ordered: bool) -> Statement:
        """What its processes' end is worth. May wait. Asked again where the order comes meanwhile."""
        ...

    def overtaken(self, end: Ended) -> Statement:
        """What it is worth where the order came when it had been said without one; must not wait."""
        ...


def unconfirmed(action: int, why: str) -> Ended:
    """The end of an action of which nobody can say that it stopped, and that no supervisor ran."""
    return ended(action, "interrupted_unconfirmed", why, "nothing")


def ended(action: int, state: State, why: str, proven_by: str) -> Ended:
    """The end of an action that no supervisor ran."""
    return Ended(
        action=action, state=state, exit_code=None, signal=None, output=b"", truncated=False, errors=b"",
        started_us=0, ended_us=0, swept=0, proven_by=proven_by, why=why, sweep_us=0,
    )  # fmt: skip
