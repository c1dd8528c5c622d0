"""Whether the path of escalation asks somebody at every step, and whether every step of it can be reached.

What depends on the house (whether a team or a channel exists, who is on call) is not known here: `escalation lint`
and adoption look at that (`core.escalation.lint`).
"""

from __future__ import annotations

import re

from failwell.core.contract.duration import format_duration
from failwell.core.contract.model import Step
from failwell.core.contract.nearest import meant
from failwell.core.contract.scope import Path, Scope
from failwell.core.errors import InputError
from failwell.core.hours import parse_hours

#: Whom a step asks.
TARGET = re.compile(r"owner|(?:team|role|person):[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
#: `email`, or what the settings call a channel.
CHANNEL = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?")
#: The roles that a person can have.
ROLES = ("approver", "operator", "reviewer")

MOST_STEPS, MOST_CHANNELS, MOST_REPEATS, MOST_REQUIRED = 16, 8, 20, 99
#: Longer than it takes to answer a telephone is wanted; more than a week is a path that nobody waits for.
_SHORTEST_US, _LONGEST_US = 1_000_000, 7 * 86_400_000_000


class PathChecks(Scope):
    """The escalation path of one contract under check."""

    def all(self) -> None:
        """Note everything about the path."""
        steps = self.contract.escalation
        if len(steps) > MOST_STEPS:
            reason = f"There are {len(steps)}, at most {MOST_STEPS}."
            self.error(("escalation",), "The path has too many steps.", reason, "Ask several at once: role:NAME.")
            return
        for number, step in enumerate(steps):
            path: Path = ("escalation", number)
            self._names(path, step)
            self._waits(path, step)
            if step.last_resort:
                self._last(path, step)
            self._reached(path, number)

    def _names(self, path: Path, step: Step) -> None:
        if not TARGET.fullmatch(step.notify):
            reason = f"It is {step.notify!r}."
            self.error((*path, "notify"), "notify names nobody.", reason,
                       "Write owner, team:NAME, role:ROLE or person:NAME.")  # fmt: skip
        role = step.notify.removeprefix("role:")
        if role != step.notify and role not in ROLES:
            mend = meant(role, ROLES) or f"Roles are: {', '.join(ROLES)}."
            self.error((*path, "notify"), f"Nobody has the role {role}.", "Nobody would be asked.", mend)
        for channel in step.by:
            self.spelled((*path, "by"), f"The channel {channel!r}", channel, CHANNEL, "email or pager")
        if not 1 <= len(step.by) <= MOST_CHANNELS or len(set(step.by)) != len(step.by):
            reason = f"There is one to {MOST_CHANNELS} of them, each once."
            self.error((*path, "by"), "The channels are not clear.", reason, "Write by: [email].")

    def _waits(self, path: Path, step: Step) -> None:
        if step.ack_within_us is not None and not _SHORTEST_US <= step.ack_within_us <= _LONGEST_US:
            reason = f"It is {format_duration(step.ack_within_us)}."
            self.error((*path, "ack_within"), "ack_within is out of range.", reason, "Write 1s to 7d, such as 10m.")
        if not 0 <= step.repeat <= MOST_REPEATS:
            reason = f"It is {step.repeat}; so many further rounds of this step come before the next."
            self.error((*path, "repeat"), "repeat is out of range.", reason, f"Write 0 to {MOST_REPEATS}.")
        if isinstance(step.require, int):
            self._number(path, step, step.require)
        try:
            if step.hours:
                parse_hours(step.hours)
        except InputError as error:
            self.error((*path, "hours"), "hours is wrong.", f"{error.message}.", error.hint or "")

    def _number(self, path: Path, step: Step, needed: int) -> None:
        if not 1 <= needed <= MOST_REQUIRED:
            mend = f"Write any, all or 1 to {MOST_REQUIRED}."
            self.error((*path, "require"), "require is out of range.", f"It is {needed}, of those asked.", mend)
        elif needed > 1 and step.notify.partition(":")[0] in ("owner", "person"):
            reason = f"{step.notify} is one person, who alone would count as all {needed}."
            self.warn((*path, "require"), f"{needed} cannot take it.", reason, "Leave require out, or ask more.")

    def _last(self, path: Path, step: Step) -> None:
        """A last resort is for every incident, at every hour, until somebody takes it."""
        for field, idle in (("hours", step.hours), ("severity", step.severity != "minor"), ("repeat", step.repeat)):
            if idle:
                reason = "A last resort is asked about every incident, at all hours, until one has taken it."
                self.error((*path, field), f"The last resort keeps to no {field}.", reason, "Leave it out.")

    def _reached(self, path: Path, number: int) -> None:
        steps = self.contract.escalation
        before = steps[:number]
        if any(one.last_resort for one in before):
            self.error(path, "This step is never reached.", "The last resort before it is asked until one takes it.",
                       "Put it before the last resort, or leave it out.")  # fmt: skip
        elif any(_same(one, steps[number]) for one in before):
            self.warn(path, "This step asks nobody new.", "An earlier step asks the same by the same channels.",
                      "Ask others, or say repeat at the earlier one.")  # fmt: skip


def _same(earlier: Step, later: Step) -> bool:
    """Whether whom the later step reaches was reached by the earlier one, whenever the later applies."""
    always = earlier.severity == "minor" and not earlier.hours
    alike = (earlier.severity, earlier.hours) == (later.severity, later.hours)
    return earlier.notify == later.notify and set(later.by) <= set(earlier.by) and (always or alike)
