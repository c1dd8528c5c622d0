"""What happened, in one sentence for somebody who has not seen the system: which agent, what, how often.

From the signal that a case was opened for and the entry that it is about. The words of agents and tools are names here,
never sentences; what a person wrote is theirs and stands after a colon.
"""

from __future__ import annotations

import re
from typing import Any

from failwell.core import kinds
from failwell.core.records import Entry

#: Rehearsed and planted cases say so before anything else.
_FIRST = {"drill": "DRILL: ", "canary": "CANARY: "}
_SIGNAL = re.compile(r"([a-z_.]+)(?:\(([^()]{1,200})\))?")

#: By the id of a denial that no contract spells: what the agent did. {name} and {tool} are filled in.
_RESERVED = {
    "tool.unlisted": "{name} tried {tool}, which its contract does not list",
    "arguments": "{name} called {tool} with arguments that its contract does not declare",
    "contract.valid": "{name} tried {tool} outside the time that its contract is good for",
    "authority.suspended": "{name} tried {tool} although it is suspended",
    "authority.retired": "{name} tried {tool} although it is retired",
    "authority.registered": "{name} tried {tool} before any contract was in force for it",
    "authority.restricted": "{name} tried {tool}, which takes a person's yes while it is restricted",
    "principal": "{name} tried {tool} for somebody it may not act for",
    "facts": "{name} tried {tool}, and a fact that decides on it could not be had",
    "delegation": "{name} tried {tool} beyond what was handed over to it",
    "ticket": "{name} tried {tool} on an approval that is not good for it",
    "tool.changed": "{name} called {tool}, which is not the tool any more that its contract was made for",
    "evaluation.error": "{name} tried {tool}, and its contract could not be evaluated",
}
#: By the signal: what happened. {inside} is what stands in its brackets.
_WORDS = {
    "denied": "{name} tried {tool} against its contract (clause {inside})",
    "escalated": "{name} wants {tool}, for which its contract asks a person ({inside})",
    "recorded": "{name} did {tool} in a way that its contract watches for ({inside})",
    "ensure": "{name} did {tool}, and afterwards the world was not as promised (check {inside})",
    "executor.unconfirmed": "{tool} of {name} could not be shown to have stopped",
    "bypass": "{name} went round the gate: {tool} had an effect for which no verdict was asked",
    "compensate": "{inside} of {name} was to be undone, and that is not shown to be done",
    "failed": "{inside} of {name} failed",
    "unknown": "nobody can say how {inside} of {name} ended",
    "overdue": "{inside} of {name} was killed at its deadline",
    "ticket.denied": "a person said no to what {name} asked for",
    "health": "a part of Failwell itself failed: {inside}",
    "delegate": "{inside}, to which {name} had handed work, was stopped",
    "objective": "what was agreed for an incident of {name} did not happen in time: {inside}",
    "noticed": "{name} was reported by its own side: {inside}",
}
#: Where only the case's title is known.
_DENIED = "{name} was denied what it tried, by {inside} of its contract"
_LIMIT = "{name} reached its limit {inside}: {tool} was denied"


def happened(
    name: str, title: str, kind: str = "real", about: Entry[Any] | None = None, tool: str | None = None, count: int = 1
) -> str:  # fmt: skip
    """The sentence, without its full stop. `title` is the case's own.

    `about` is what its first signal is about, and `tool` the tool that this is of.
    """
    said = title.removeprefix(f"{name}: ")
    match = _SIGNAL.fullmatch(said) if said != title or not name else None
    words = None if match is None else _words(match[1], match[2], about)
    if match is not None and words is not None:
        sentence = words.format(name=name, inside=match[2] or "", tool=tool or "a tool") + _often(count)
    elif said.startswith("suspended by "):
        sentence = f"{name} was {said}"
    else:
        sentence = title if name in title else f"{name}: {title}"
    return _FIRST.get(kind, "") + " ".join(sentence.split()).rstrip(".!? ")


def _words(verb: str, inside: str | None, about: Entry[Any] | None) -> str | None:
    body = None if about is None else about.body
    if verb == "denied" and inside is not None:
        if inside in _RESERVED:
            return _RESERVED[inside]
        if body is None:
            return _DENIED
        if isinstance(body, kinds.Decision) and any(use.limit == inside for use in body.uses):
            return _LIMIT
    if verb == "executor.unconfirmed" and isinstance(body, kinds.AccessRevoked):
        return "the access of {name} at its vendor is not confirmed as gone"
    if verb == "ensure" and isinstance(body, kinds.Ensured) and body.state == "unknown":
        return "{name} did {tool}, and nobody can say whether the world is as promised (check {inside})"
    return _WORDS.get(verb)


def _often(count: int) -> str:
    return f", {count} times" if count > 1 else ""
