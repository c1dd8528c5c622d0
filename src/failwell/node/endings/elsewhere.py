"""`unstoppable`: what was begun goes on elsewhere. What runs here is killed; nobody here can say that the rest ended.

So a stop is unconfirmed at once, with the deadline until which it may go on. Where the settings declare `confirm`, it
is asked from then on until that deadline: 0 says that nothing of it goes on, 1 that it does, anything else nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from failwell.core.instants import format_at
from failwell.node.endings.commands import Commands
from failwell.node.endings.statement import BY_ITSELF, Proof, Shown, Statement
from failwell.node.settings import ToolSettings
from failwell.ports.executor import Ended

#: From one question to the next: doubled each time, up to the longest.
FIRST_S, LONGEST_S = 0.2, 5.0
#: The longest that one question may take.
MAX_ANSWER_US = 10_000_000
ENDED, GOES_ON = 0, 1


class Elsewhere:
    """One action. `until_us` is its deadline by the boot clock, None where its contract names none."""

    def __init__(
        self, confirm: Proof | None, until_us: Callable[[], int | None], mono_us: Callable[[], int],
        wall_us: Callable[[], int],
    ) -> None:  # fmt: skip
        self._confirm = confirm
        self._until_us = until_us
        self._mono_us = mono_us
        self._wall_us = wall_us

    def ordered(self) -> None:
        """Nothing of ours reaches it."""

    def say(self, end: Ended, *, ordered: bool) -> Statement:
        """Of what ended by itself nothing is claimed but that; a stop shows nothing."""
        if end.state in ("blocked", "unknown") or (end.state in BY_ITSELF and not ordered):
            return Statement(end)
        return self.overtaken(end)

    def overtaken(self, end: Ended) -> Statement:
        """It was to stop, and nothing is shown of that."""
        gone = end.state != "interrupted_unconfirmed"
        said = f"{self.told()}; nothing of it is left here" if gone else f"{self.told()}; and here: {end.why}"
        # Of what is still here its own side's word is no proof.
        return Statement(
            replace(end, state="interrupted_unconfirmed", why=said), self._confirm if gone else None
        )  # fmt: skip

    def stopped_here(self) -> tuple[str, Proof | None]:
        """What is said of one that its caller began, and how more may be shown."""
        return self.told(), self._confirm

    def told(self) -> str:
        """Until when it may go on, for all that is known."""
        until_us = self._until_us()
        if until_us is None:
            return "it goes on elsewhere, and no deadline bounds it"
        at = format_at(self._wall_us() + until_us - self._mono_us())
        return f"it goes on elsewhere, as far as anybody here knows until its deadline at {at}"


def confirming(
    commands: Commands, settings: ToolSettings | None, about: Callable[[], dict[str, Any]],
    until_us: Callable[[], int | None], mono_us: Callable[[], int],
) -> Proof | None:  # fmt: skip
    """How the `confirm` command of a tool may show a stop later; None where none is declared."""
    if settings is None or settings.confirm is None:
        return None
    command, declared = settings.confirm, settings
    within_us = min(settings.stop_deadline_ms * 1000, MAX_ANSWER_US)

    def look() -> Shown | str:
        answer = commands.run(command, declared, about(), within_us)
        if answer == ENDED:
            return Shown("its confirm command says that nothing of it goes on", mono_us())
        if answer == GOES_ON:
            return "its confirm command says that it goes on"
        return f"its confirm command {answer if isinstance(answer, str) else f'ended with {answer}'}"

    def pauses_s() -> Iterator[float]:
        """Until the deadline of the action, or of the stop, whichever is later; then once more."""
        until = max(until_us() or 0, mono_us() + declared.stop_deadline_ms * 1000)
        pause_s = FIRST_S
        while mono_us() < until:
            yield pause_s
            pause_s = min(pause_s * 2, LONGEST_S)
        yield FIRST_S

    return Proof(look, pauses_s(), str(about()["tool"]))
