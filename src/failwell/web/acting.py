"""Runs and actions over HTTP: open, close, decide, execute, begin, settle, permit, explain, read.

INVARIANT: of execute, begin and permit a status of 2xx says that leave was given (and of execute that it was started);
whatever was not allowed is 403, with the verdict in the problem, so that a caller that looks at the status alone takes
nothing for done. `decide` asks for the verdict alone, and is answered 200 with whichever it is.
"""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import msgspec

from failwell.core.errors import FailwellError, InputError, NotFound, Refused
from failwell.web import shapes
from failwell.web.bodies import read_number
from failwell.web.callers import Caller
from failwell.web.door import AGENT, HOST, Asked, Door
from failwell.web.problems import Problem, problem_of

GONE = "its caller hung up"
_STATES = {"open": "is still under way"}


class NotStarted(FailwellError):
    """A verdict by which nothing starts, as a problem that carries it."""

    def __init__(self, verdict: shapes.Verdict) -> None:
        asks = verdict.verdict == "ESCALATE"
        hint = verdict.hint
        if asks and verdict.ticket is not None:
            hint = f"A person answers ticket {verdict.ticket}. Then ask again, with ticket {verdict.ticket}."
        what = "a person must decide" if asks else "denied"
        named = f" by {', '.join(verdict.clauses)}" if verdict.clauses else ""
        super().__init__(f"{what}{named}: {verdict.because}", hint=hint, code="escalated" if asks else "denied")
        self.verdict = verdict


class Denial(Problem, frozen=True, kw_only=True):
    """A problem that a verdict is the reason of."""

    verdict: shapes.Verdict


def denial_of(error: NotStarted) -> Denial:
    """The document that tells a verdict by which nothing starts."""
    verdict = error.verdict
    refused = Refused(error.message, hint=error.hint, code=error.code)
    told = problem_of(refused, entry=verdict.entry, ticket=verdict.ticket)
    return Denial(**msgspec.structs.asdict(told), verdict=verdict)


# ---- runs ----------------------------------------------------------------------------------------------------


async def open_run(door: Door, asked: Asked) -> shapes.Opened:
    """Open a run, or hand the work of one over."""
    caller, body = asked.caller, asked.body
    agent = body.agent
    if caller.role == HOST:
        if agent is None:
            raise InputError("a host says which agent works", hint='"agent": "spiffe://..."')
    elif caller.role != AGENT:
        raise Refused(f"a {caller.role} opens no runs", hint="An agent does, or a host for its agents.")
    elif agent is None:
        agent = caller.name
    if body.parent is not None:
        if caller.role == HOST:
            raise Refused("a host hands no run over", hint="The agent whose run it is does.")
        # Attack: whose run another number is, told by the refusal to hand it over.
        await door.read(caller, "run", body.parent)
    run = await caller.wire.call("run.open", **{**msgspec.to_builtins(body), "agent": agent})
    return shapes.Opened(run=run)


async def read_run(door: Door, asked: Asked) -> shapes.Run:
    """A run as it stands."""
    return await _run(door, asked)


async def _run(door: Door, asked: Asked) -> shapes.Run:
    number = read_number(asked.path["run"])
    return shapes.take(shapes.Run, await door.read(asked.caller, "run", number))


async def close_run(door: Door, asked: Asked) -> shapes.Run:
    """Close a run."""
    agent = door.agent_of(asked.caller)
    run = await _run(door, asked)
    await asked.caller.wire.call("run.close", agent=agent, run=run.run, reason=asked.body.reason)
    return await _run(door, asked)


# ---- actions -------------------------------------------------------------------------------------------------


async def decide(door: Door, asked: Asked) -> shapes.Decided:
    """The verdict on an action, on record, without executing it."""
    told = await asked.caller.wire.call("act", **_proposed(door, asked.caller, asked.body, "decide"))
    # Of an agent that nobody knows the node tells more than the verdict.
    return shapes.Decided(
        verdict=_verdict(told["verdict"] if isinstance(told["verdict"], dict) else told), outcome=None
    )


async def execute(door: Door, asked: Asked) -> shapes.Executed:
    """Have an action executed by the node; the answer comes with its end.

    A caller that hangs up before is gone, as at every door: what it had started is stopped.
    """
    caller, body = asked.caller, asked.body
    fields = _proposed(door, caller, body, "execute")

    async def left() -> None:
        with contextlib.suppress(FailwellError):
            await caller.wire.call("cancel", agent=caller.name, run=body.run, call=body.call, why=GONE)

    told = await asked.unless_gone(caller.wire.call("act", **fields), left)
    # What had started before its agent was stopped has come to an end all the same, which is what is asked for.
    ended = told["verdict"]["repeated"] and told["result"] is not None
    verdict = _verdict(told["verdict"]) if ended else _started(told["verdict"])
    if told["result"] is None:
        raise _conflict(verdict, f"call {body.call} {_STATES.get(verdict.state, f'is {verdict.state}')}", "under-way")
    outcome = outcome_of(told["result"])
    if outcome.state == "blocked":
        raise _conflict(verdict, f"allowed, and not started: {outcome.why}", "blocked", outcome.entry)
    return shapes.Executed(verdict=verdict, outcome=outcome)


async def begin(door: Door, asked: Asked) -> shapes.Decided:
    """Leave to execute an action oneself; whoever has it is asked to stop over its event stream."""
    body = asked.body
    stream = door.streams.get(body.stream)
    if stream is None or stream.caller.name != asked.caller.name or asked.caller.role != AGENT:
        raise NotFound(
            f"{asked.caller.role} {asked.caller.name} has no event stream {body.stream} open here",
            hint="Open GET /v1/events first: its first event names it.",
        )
    told = await stream.caller.wire.call("act", **_proposed(door, asked.caller, body, "begin"))
    verdict = _started(told["verdict"])
    if verdict.repeated:
        raise _conflict(verdict, f"call {body.call} was begun before, and is {verdict.state}", "repeated")
    if stream.over:
        # Attack: hang up on the stream while leave is given, and execute what nobody can ask to stop.
        await stream.lose(body.run, body.call)
        raise _conflict(verdict, "its event stream ended meanwhile: it is not to be executed", "not-open")
    stream.begun(verdict.entry, body.run, body.call)
    return shapes.Decided(verdict=verdict, outcome=None)


async def permit(door: Door, asked: Asked) -> shapes.Permit:
    """A permit for one call of a tool server."""
    fields = _proposed(door, asked.caller, asked.body, "permit")
    told = await asked.caller.wire.call("act", **fields, audience=asked.body.audience)
    verdict = _started(told["verdict"])
    if told["permit"] is None:
        raise _conflict(verdict, f"the permit of call {asked.body.call} has left already", "repeated")
    return shapes.take(shapes.Permit, told["permit"], verdict=verdict)


async def settle(door: Door, asked: Asked) -> shapes.Recorded:
    """How an action ended that the caller executed itself."""
    agent = door.agent_of(asked.caller)
    action = read_number(asked.path["action"])
    stream = next((each for each in door.streams.values() if each.has(agent, action)), None)
    if stream is None:
        raise Refused(
            f"action {action} is not executed over an event stream of {agent}", code="not-open",
            hint="It was settled before, or its stream ended and it is on record as lost: GET /v1/actions/NUMBER",
        )  # fmt: skip
    body = asked.body
    entry = await stream.caller.wire.call(
        "settle", agent=agent, action=action, state=body.state, result=body.result, why=body.why
    )
    stream.ended(action)
    return shapes.Recorded(entry=entry)


async def explain(door: Door, asked: Asked) -> shapes.Recorded:
    """Why the agent did it, on record as said in hindsight."""
    agent = door.agent_of(asked.caller)
    action = read_number(asked.path["action"])
    entry = await asked.caller.wire.call("explain", agent=agent, action=action, reason=asked.body.reason)
    return shapes.Recorded(entry=entry)


async def read_action(door: Door, asked: Asked) -> shapes.Action:
    """An action, what was decided and what came of it."""
    number = read_number(asked.path["action"])
    return shapes.take(shapes.Action, await door.read(asked.caller, "action", number))


# ---- from the node's words to ours ---------------------------------------------------------------------------


def _proposed(door: Door, caller: Caller, body: Any, how: str) -> dict[str, Any]:
    return {
        "agent": door.agent_of(caller), "run": body.run, "call": body.call, "tool": body.tool,
        "arguments": body.arguments.text, "reason": body.reason, "ticket": body.ticket, "how": how,
    }  # fmt: skip


def _verdict(told: dict[str, Any]) -> shapes.Verdict:
    ticket = told["ticket"]
    return shapes.take(shapes.Verdict, told, ticket=None if ticket is None else int(ticket))


def _started(told: dict[str, Any]) -> shapes.Verdict:
    """The verdict by which an action may start; NotStarted for any other."""
    verdict = _verdict(told)
    if verdict.verdict != "ALLOW" and verdict.governed:
        raise NotStarted(verdict)
    return verdict


def outcome_of(told: dict[str, Any]) -> shapes.Outcome:
    """What came of an action, as the node tells it."""
    result = read_result(base64.b64decode(told["output"]))
    return shapes.take(shapes.Outcome, told, result=result, erased=told.get("erased"))


def read_result(output: bytes) -> Any:
    """The JSON value that a tool gave, else its text."""
    text = output.decode("utf-8", "replace")
    try:
        value = json.loads(text, parse_constant=_no_json)
        msgspec.json.encode(value)
    except (ValueError, RecursionError, TypeError, OverflowError):
        return text
    return value


def _no_json(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


class Conflict(FailwellError):
    """The record holds something else than what was asked for; `entry` says where."""

    def __init__(self, message: str, code: str, entry: int) -> None:
        super().__init__(message, hint=f"GET /v1/actions/{entry} says what came of it.", code=code)
        self.entry = entry


def _conflict(verdict: shapes.Verdict, message: str, code: str, entry: int | None = None) -> Conflict:
    return Conflict(f"{message} [entry {verdict.entry if entry is None else entry}]", code, verdict.entry)
