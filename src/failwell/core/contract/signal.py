"""Signals as response rules name them: `denied(ID) >= 3 in 10m` (DESIGN section 6, D22).

A signal name is `denied(ID)`, `escalated(ID)` or `recorded(ID)` of a clause, a limit or a reserved id,
`ensure(NAME)` of a check of the world that was missed, `compensate(TOOL)` of an action of TOOL that was not undone,
`failed(TOOL)`, `unknown(TOOL)` or `overdue(TOOL)` of one that came to no good end, `noticed(NAME)` of what the host or
a detector says, `delegate(AGENT)` of an agent that work was handed to and that was suspended, `objective(NAME)` of
what people did not do in time, or one without brackets. Counting signals is the work of `core.incidents.ladder`.
"""

from __future__ import annotations

import re

import msgspec

from failwell.core.contract.duration import parse_duration
from failwell.core.contract.model import Do
from failwell.core.errors import InputError

#: Signals that are not about a clause, as far as this version raises them.
PLAIN_SIGNALS = ("bypass", "executor.unconfirmed", "reported", "ticket.denied")
LATER_SIGNALS = ("drift.alarm", "drift.warning")
#: The signal of a check of the world that was missed: `ensure(NAME)`.
ENSURE = "ensure"
#: The signal of an action that was to be undone and was not, or not shown to be: `compensate(TOOL)`.
COMPENSATE = "compensate"

THEN_OF_VERB = {"denied": "deny", "escalated": "escalate", "recorded": "record"}

#: Signals of how an action of a tool ended: `failed(TOOL)`.
OF_TOOLS = ("failed", "unknown", "overdue")
#: What the host or a detector says: `noticed(NAME)`. What became of whom work was handed to: `delegate(AGENT)`. What
#: was agreed for an incident and did not happen in time: `objective(NAME)`.
NOTICED, DELEGATE, OBJECTIVE = "noticed", "delegate", "objective"
OBJECTIVES = ("acknowledge", "investigate", "resolve")
#: What people or programs say, and nobody has shown.
ASSERTED = (NOTICED, "reported")

_WRITTEN = {
    **{verb: "ID" for verb in THEN_OF_VERB}, ENSURE: "NAME", COMPENSATE: "TOOL",
    **{verb: "TOOL" for verb in OF_TOOLS}, NOTICED: "NAME", DELEGATE: "AGENT", OBJECTIVE: "NAME",
}  # fmt: skip
_ABOUT = tuple(_WRITTEN)

#: Every response word, in the order in which a rule's words are kept.
DO_WORDS: tuple[Do, ...] = ("record", "ask", "restrict", "interrupt", "suspend", "suspend_group", "hold", "notify")
_SUSPEND_IMPLIES: frozenset[Do] = frozenset({"interrupt", "suspend", "hold", "notify"})

#: The longest window of a rule: state keeps signals no longer (`core.state`).
LONGEST_WINDOW_US = 31 * 86_400_000_000

_SIGNAL = re.compile(r"([a-z.]+)(?:\(([^()]{1,128})\))?(?:\s*>=\s*([1-9][0-9]{0,5})\s+in\s+(\S{1,12}))?")


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """`verb` and `about` (a clause or limit id, the name of an `ensure`, a tool, or None), seen `at_least` times within
    `within_us` (0: once, ever)."""

    verb: str
    about: str | None
    at_least: int = 1
    within_us: int = 0

    @property
    def name(self) -> str:
        """The name under which the signal is raised, such as `denied(refund-ceiling)`."""
        return self.verb if self.about is None else f"{self.verb}({self.about})"


def parse_signal(text: str) -> Signal:
    """Return the signal that `text` names; InputError with what to write instead."""
    match = _SIGNAL.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{text!r} is not a signal", hint='Write it as "denied(refund-ceiling) >= 3 in 10m".')
    verb, about, count, window = match[1], match[2], match[3], match[4]
    if verb in LATER_SIGNALS:
        raise InputError(f"this version never raises {verb}", hint="Leave the rule out: it would not protect.")
    if (about is None and verb not in PLAIN_SIGNALS) or (about is not None and verb not in _ABOUT):
        known = ", ".join([*(f"{known}({of})" for known, of in _WRITTEN.items()), *PLAIN_SIGNALS])
        raise InputError(f"{text!r} is not a signal", hint=f"Signals are: {known}.")
    within_us = 0 if window is None else parse_duration(window)
    if within_us > LONGEST_WINDOW_US:
        raise InputError(f"{window} is longer than 31 days", hint="Count over at most 31d.")
    return Signal(verb=verb, about=about, at_least=int(count or 1), within_us=within_us)


def expand_do(words: tuple[Do, ...]) -> tuple[Do, ...]:
    """Return the words in their fixed order, with what `suspend` always implies: interrupt, hold, notify."""
    asked = set(words) | (_SUSPEND_IMPLIES if {"suspend", "suspend_group"} & set(words) else set())
    return tuple(word for word in DO_WORDS if word in asked)
