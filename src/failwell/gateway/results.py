"""What the agent's client is answered: a server's result as it came, marked; or why there is none, and what to do.

A result keeps the bytes of its members: only `_meta` is written anew, because it says that this text comes from a tool
and from nobody who gives orders. Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec

from failwell.client.answers import Verdict
from failwell.gateway import messages
from failwell.gateway.backend import Outcome
from failwell.gateway.messages import FAILED, INTERNAL_ERROR, OURS, Faulty, encode, joined, members

#: Members of the listings and readings of the stateless revision, which say for how long they may be kept: not at all.
_FRESH = {"ttlMs": b"0", "cacheScope": b'"private"'}
_CACHED = frozenset({"tools/list", "resources/list", "resources/templates/list", "resources/read", "prompts/list"})


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why an action gives no result: words for who asked, and the same for a program."""

    number: int
    text: str
    details: dict[str, Any]

    def as_fault(self) -> Faulty:
        return Faulty(self.number, self.text, self.details)

    def as_result(self, *, structured: bool) -> dict[str, bytes]:
        """As the result of a tool: an error that its caller can read. `structured`: the tool promises no other form."""
        parts = {
            "content": encode([{"type": "text", "text": self.text}]), "isError": b"true",
            "_meta": encode({OURS + "refused": self.details}),
        }  # fmt: skip
        return {**parts, "structuredContent": encode(self.details)} if structured else parts


# ---- results that came --------------------------------------------------------------------------------------


def marked(outcome: Outcome, verdict: Verdict | None) -> dict[str, bytes]:
    """The members of a server's result, raw, with our mark. Faulty where what came is no result."""
    try:
        parts = members(outcome.output, "the result")
        theirs = members(parts.get("_meta", b""), "the result's _meta")
    except Faulty as error:
        raise Faulty(INTERNAL_ERROR, f"the tool server answered what is no result: {error.message}") from error
    if parts.get("resultType", b'"complete"') != b'"complete"':
        raise Faulty(FAILED, "the tool server asks the client for something first, which does not pass the gateway")
    # Attack: a server that writes our marks itself, and calls its text trusted.
    kept = {name: bytes(raw) for name, raw in theirs.items() if not name.startswith(OURS)}
    parts["_meta"] = joined({**kept, OURS + "result": encode(_mark(outcome, verdict))})
    return parts


def _mark(outcome: Outcome, verdict: Verdict | None) -> dict[str, Any]:
    told: dict[str, Any] = {"untrusted": True, "state": outcome.state, "outcome": outcome.entry}
    if outcome.truncated:
        told["truncated"] = True
    if verdict is not None:
        told["entry"] = verdict.entry
        if verdict.repeated:
            told["repeated"] = True
        if not verdict.governed:
            told["governed"] = False
    return told


def completed(parts: dict[str, bytes], method: str, server: bytes | None) -> bytes:
    """The result of `method` as the client's revision has it; `server`: who we are, where the revision is stateless."""
    if server is None:
        return joined(parts)
    added = {"resultType": b'"complete"', **(_FRESH if method in _CACHED else {})}
    meta = parts.get("_meta", b"{}")
    stamped = b'{"io.modelcontextprotocol/serverInfo":' + server + (b"," if len(meta) > 2 else b"") + meta[1:]
    return joined({**parts, **added, "_meta": stamped})


# ---- refusals ------------------------------------------------------------------------------------------------


def refused(verdict: Verdict) -> Refusal:
    """A denial or an escalation: the problem, the reason, what to do."""
    escalated = verdict.verdict == "ESCALATE"
    by = f" by {', '.join(verdict.clauses)}" if verdict.clauses else ""
    problem = f"Escalated{by}: a person decides first" if escalated else f"Denied{by}"
    because, hint = verdict.because, _hint(verdict)
    if hint.startswith(because):
        because, hint = hint, ""  # it says the same and more
    return Refusal(
        number=messages.ESCALATED if escalated else messages.DENIED,
        text=f"{problem}. {because} [entry {verdict.entry}]\nIt did not run. {hint}".rstrip(),
        details={
            "code": "escalated" if escalated else "denied", "verdict": verdict.verdict, "clauses": verdict.clauses,
            "because": verdict.because, "entry": verdict.entry, "ticket": verdict.ticket, "hint": hint or because,
        },
    )  # fmt: skip


def _hint(verdict: Verdict) -> str:
    if verdict.verdict == "ESCALATE" and verdict.ticket is not None:
        return (
            f"It waits as ticket {verdict.ticket} (a person looks at it: failwell ticket show {verdict.ticket}). Make "
            "the same call again later: once it is approved it runs, once."
        )
    if verdict.hint:
        return verdict.hint
    if verdict.verdict == "ESCALATE":
        return "Too many questions of this agent wait already; go on without it, and ask again when some are answered."
    return "The same call will be denied again: go on without it, or tell who you work for what is missing."


#: By how an action ended without a result: what a program calls it, the words for it, and what to do.
_ENDS = {
    "interrupted_confirmed": ("interrupted", "Stopped, and nothing of it runs any more"),
    "interrupted_unconfirmed": ("interrupted", "Stopped, which is NOT CONFIRMED, and parts of it may still run"),
    "completed_after_interrupt": ("interrupted", "Stopped, but it had been done by then"),
    "blocked": ("blocked", "Blocked before it began, and did not run"),
}
_AFTER = {
    "interrupted": "Do not assume that it was done or undone. Who stopped it, and what is known: failwell stop report",
    "blocked": "It may be tried again when that is no longer so.",
    "unknown": "Do not assume that it was done or undone: look before it is done again.",
}


def stopped(outcome: Outcome, verdict: Verdict | None) -> Refusal:
    """An action that was let through and has no result: it was stopped, or nobody knows how it ended."""
    code, words = _ENDS.get(outcome.state, ("unknown", "Nobody can say whether it was done"))
    why, hint = outcome.why or "by order", _AFTER[code]
    return Refusal(
        number=messages.STOPPED, text=f"{words}: {why} [entry {outcome.entry}]\n{hint}",
        details={
            "code": code, "state": outcome.state, "why": why, "entry": None if verdict is None else verdict.entry,
            "outcome": outcome.entry, "hint": hint,
        },
    )  # fmt: skip


def without_result(verdict: Verdict) -> Refusal:
    """A call that was decided before and has no result to tell (yet)."""
    open_ = verdict.state == "open"
    hint = "Ask again under the same id when it has ended." if open_ else "A new call needs a new id."
    told = f"This call was decided before [entry {verdict.entry}] and is {verdict.state}"
    return Refusal(
        number=FAILED,
        text=f"{told}: it does not run again. {hint}",
        details={"code": "repeated", "state": verdict.state, "entry": verdict.entry, "hint": hint},
    )


def failed(outcome: Outcome, verdict: Verdict | None) -> Refusal:
    """A tool that failed and said nothing that could be passed on."""
    why = outcome.why or outcome.erased or f"exit code {outcome.exit_code}"
    hint = "Read why, and do not count on any part of it having been done."
    return Refusal(
        number=FAILED, text=f"The tool {outcome.state} without a result. {why} [entry {outcome.entry}]\n{hint}",
        details={
            "code": "tool-failed", "state": outcome.state, "why": why, "outcome": outcome.entry,
            "entry": None if verdict is None else verdict.entry, "hint": hint,
        },
    )  # fmt: skip
