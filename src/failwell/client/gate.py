"""The Python door: `connect`, a decorator for tools, a context manager for runs. Nothing else to learn.

A decorated function that a fresh process can import runs there, under a supervisor that can stop it. Any other one
(a closure, a notebook cell) stays in this process: it is `cooperative`, its stop cannot be confirmed, and the record
says so. What an agent may do stands in its contract, never here.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import contextvars
import functools
import inspect
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from failwell.client import proofs
from failwell.client.answers import Outcome, Permitted, Ticket, Verdict, read_ticket, read_verdict
from failwell.client.awaited import AsyncRun
from failwell.client.calls import pauses, permitted, read_output, result, runnable
from failwell.client.declared import declared
from failwell.client.stopped import Acting
from failwell.client.wire import Wire, reach
from failwell.core.errors import FailwellError as Error
from failwell.core.errors import InputError, NotFound, Refused
from failwell.execute.function import ORIGINAL, import_path, importable, make_command
from failwell.identity import names
from failwell.node.workspace import find_workspace

F = TypeVar("F", bound=Callable[..., Any])

#: What `call` takes besides the arguments of the tool.
_OURS = frozenset({"call_id", "reason", "ticket"})
#: What says where this user's node, keys and guards lie.
_PLACES = ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "FAILWELL_CONFIG", "FAILWELL_STATE")
_CURRENT: contextvars.ContextVar[Run | None] = contextvars.ContextVar("failwell_run", default=None)


def connect(workspace: str | os.PathLike[str] | None = None) -> Gate:
    """Connect to the node of a workspace, starting one if none answers.

    `workspace`: its directory; by default $FAILWELL_WORKSPACE, else the nearest from here upwards. Raises NotFound
    without a workspace, Unreachable when no node can be started.
    """
    found = find_workspace(None if workspace is None else os.fspath(workspace), os.environ, Path.cwd())
    return Gate(reach(found.socket, found.path), names.config_directory(os.environ, Path.home()), found.path)


class Gate:
    """A connection to the node. Thread-safe; close it with `close` or a `with` block."""

    def __init__(self, wire: Wire, config: Path, workspace: Path | None = None) -> None:
        self.wire = wire
        self._workspace = workspace
        self._config = config
        self._proved: dict[str, proofs.Proof] = {}
        self._proving = threading.Lock()
        self._tools: dict[str, Callable[..., Any]] = {}
        self._acting: dict[int, Acting] = {}
        wire.on_push = self._pushed

    def tool(self, name: str) -> Callable[[F], F]:
        """Register a function as the tool `name`. Called inside a run, it goes through the gate.

        Arguments are passed by keyword and travel as JSON, as does the result.
        """

        def register(function: F) -> F:
            self._tools[name] = function
            own = _OURS & _parameters(function)

            @functools.wraps(function)
            def governed(**arguments: Any) -> Any:
                run = _CURRENT.get()
                if run is None:
                    raise Refused(f"{name} was called outside a run", hint="with gate.run(agent=...) as run: ...")
                # A parameter of the tool's own is an argument, also where `call` has a word of that name.
                given = {word: arguments.pop(word) for word in own if word in arguments}
                return run.call(name, given, **arguments)

            setattr(governed, ORIGINAL, function)
            return governed  # type: ignore[return-value]

        return register

    def run(
        self, agent: str, *, principal: str | None = None, request: str | None = None, host: str | None = None,
        resume: int | None = None, parent: Run | AsyncRun | None = None, model: str | None = None,
        prompt: str | None = None, tool_schemas: str | None = None,
    ) -> Run:  # fmt: skip
        """One task of `agent`: on behalf of `principal`, because of `request`. Use it in `with` or `async with`.

        `host` names the application whose own key opens the run; `resume` goes on with an open run of that number.
        `parent` is the run whose agent hands this work over: principal and request are then that run's. `model`,
        `prompt` and `tool_schemas` are digests (`digest_of`) of what the agent works with; they are sealed with each
        decision, as the agent's own word.
        """
        opening = {"principal": principal, "request": request, "parent": None if parent is None else parent.id}
        return Run(self, agent, opening | declared(model, prompt, tool_schemas), host, resume)

    def prove(self, role: str, name: str) -> str:
        """Prove an identity with what lies in the configuration directory; its full name.

        An agent's certificate, where one lies there and holds, else the key that its registration left.
        """
        with self._proving:
            if name not in self._proved or self._proved[name].due:
                self._proved[name] = proofs.prove(self.wire, self._config, role, name)
            return self._proved[name].full

    def keep(self, agent: str) -> None:
        """Prove an agent anew where half the time of what it was proved by is over; nothing otherwise."""
        proof = self._proved.get(agent)
        if proof is not None and proof.due:
            self.prove("agent", agent)

    def present(
        self, agent: str, *, token: str | None = None, svid: proofs.File | None = None,
        svid_key: proofs.File | None = None,
    ) -> str:  # fmt: skip
        """Prove an agent by a token of a trusted provider, or by an X.509-SVID of a trusted domain; its full name.

        `svid` holds the certificate chain (PEM), `svid_key` its key, where that is not in the same file. What was
        presented lapses: present again then, on this or another connection.
        """
        with self._proving:
            proof = proofs.present(self.wire, agent, token=token, svid=svid, svid_key=svid_key)
            self._proved[agent] = self._proved[proof.full] = proof
            return proof.full

    def ticket(self, number: int | str) -> Ticket:
        """How a ticket stands: open, approved, used, denied or expired. NotFound where there is none."""
        return read_ticket(self.wire.call("ask", about="ticket", key=number))

    def function(self, tool: str) -> Callable[..., Any] | None:
        return self._tools.get(tool)

    def target(self, tool: str) -> dict[str, Any] | None:
        """How a fresh process runs the function registered for `tool`; None when it must stay in this process."""
        function = self._tools.get(tool)
        named = None if function is None else importable(function)
        if named is None:
            return None
        env = {"PYTHONPATH": import_path()}
        if self._workspace is not None:
            # The module that holds the tool is imported there, and most connect at import: to this same workspace,
            # whose node is reached through the runtime directory of this session. Without it they would look for the
            # node elsewhere, find the workspace held, and give up when the deadline is long over.
            env["FAILWELL_WORKSPACE"] = str(self._workspace)
            env |= {name: os.environ[name] for name in _PLACES if name in os.environ}
        return {"command": make_command(named), "env": env, "cwd": os.getcwd()}

    def _pushed(self, message: dict[str, Any]) -> None:
        acting = self._acting.get(int(message.get("action", -1)))
        if acting is not None:
            acting.ask_to_stop()

    def close(self) -> None:
        self.wire.close()

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    try:
        return frozenset(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # some builtins do not tell theirs
        return frozenset()


class Run:
    """One task. `call` executes, `decide` only asks; both say who decided and why."""

    def __init__(
        self, gate: Gate, agent: str, opening: dict[str, Any], host: str | None, resume: int | None
    ) -> None:  # fmt: skip
        self._gate = gate
        self._agent = agent
        self._opening = opening
        self._host = host
        self.id: int | None = resume
        self._token: contextvars.Token[Run | None] | None = None

    # -- opening and closing -----------------------------------------------------------------------------------

    def __enter__(self) -> Run:
        self._agent = self._gate.prove("agent", self._agent)
        if self._host is not None:
            self._gate.prove("host", self._host)
        if self.id is None:
            self.id = self._gate.wire.call("run.open", agent=self._agent, **self._opening)
        self._token = _CURRENT.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        if self._token is not None:
            _CURRENT.reset(self._token)
        # What went wrong inside is what the caller must hear of, not that its actions are still under way.
        with contextlib.nullcontext() if kind is None else contextlib.suppress(Error):
            if self.id is not None:
                self._gate.wire.call("run.close", agent=self._agent, run=self.id)

    async def __aenter__(self) -> AsyncRun:
        await asyncio.to_thread(self.__enter_quietly)
        self._token = _CURRENT.set(self)
        return AsyncRun(self)

    def __enter_quietly(self) -> None:
        self.__enter__()
        if self._token is not None:
            _CURRENT.reset(self._token)

    async def __aexit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        self._token = None
        await asyncio.to_thread(self.__exit__, kind)

    def hand_over(self, agent: str, **works_with: str | None) -> int:
        """Open a run of another agent under this one, for its own process to go on with (`resume`); its number.

        `works_with`: model, prompt and tool_schemas, as in `Gate.run`.
        """
        agents = self._gate.wire.call("ask", about="agents", key=None)
        full = next((known for known, row in agents.items() if row["name"] == agent), agent)
        opening: dict[str, Any] = {"agent": full, "parent": self.id, **declared(**works_with)}
        return int(self._gate.wire.call("run.open", **opening))

    def explain(self, entry: int, reason: str) -> int:
        """Say afterwards why the agent did what was decided at `entry`; recorded as given in hindsight."""
        return int(self._gate.wire.call("explain", agent=self._agent, action=entry, reason=reason))

    # -- acting ------------------------------------------------------------------------------------------------

    def decide(
        self, tool: str, arguments: dict[str, Any] | None = None, *, reason: str | None = None,
        call_id: str | None = None, ticket: int | str | None = None, **more: Any,
    ) -> Verdict:  # fmt: skip
        """The verdict on an action, on record, without executing it. `ticket`: the approved one that it rests on.

        An ALLOW is leave to act that nobody here can stop or see used: what it takes of limits, and its ticket, are not
        given back, and a stop of the agent is on record as unconfirmed for it. `call` and `acting` do better.
        """
        given = {**(arguments or {}), **more}
        return self._verdict(self._propose(tool, given, reason, call_id, "decide", ticket).result())

    def call(
        self, tool: str, arguments: dict[str, Any] | None = None, *, reason: str | None = None,
        call_id: str | None = None, ticket: int | str | None = None, **more: Any,
    ) -> Any:  # fmt: skip
        """Execute an action and return the tool's result.

        Raises Denied or Escalated when it does not run, Interrupted when it was stopped, Error when the tool fails.
        An escalated action is called again, with `ticket`, once a person has approved it (`wait`).
        """
        given = {**(arguments or {}), **more}
        function = self._gate.function(tool)
        if function is not None and self._gate.target(tool) is None:
            with self.acting(tool, given, reason=reason, call_id=call_id, ticket=ticket) as acting:
                acting.result = function(**given)
            return acting.result
        return result(self._outcome(self._propose(tool, given, reason, call_id, "execute", ticket).result()))

    def permit(
        self, tool: str, arguments: dict[str, Any] | None = None, *, audience: str, reason: str | None = None,
        call_id: str | None = None, ticket: int | str | None = None, **more: Any,
    ) -> Permitted:  # fmt: skip
        """A permit for one call of the server `audience`, which runs the tool: its `token` goes along with the call.

        Raises Denied or Escalated where there is none. It is good once, for these arguments, for seconds. As with
        `decide` nobody here sees or stops what is done with it.
        """
        given = {**(arguments or {}), **more}
        return permitted(self._propose(tool, given, reason, call_id, "permit", ticket, audience).result())

    def wait(self, ticket: int | str, timeout_s: float | None = None) -> Ticket:
        """How a ticket stands once somebody has answered it or its time is over; after `timeout_s`, as it stands then.

        It asks the node now and then. An action that waits for hours is better told to come back later.
        """
        waits = pauses(timeout_s)
        found: Ticket
        while (found := self._gate.ticket(ticket)).state == "open" and (pause_s := next(waits, None)) is not None:
            time.sleep(pause_s)
        return found

    @contextmanager
    def acting(
        self, tool: str, arguments: dict[str, Any] | None = None, *, reason: str | None = None,
        call_id: str | None = None, ticket: int | str | None = None, **more: Any,
    ) -> Iterator[Acting]:  # fmt: skip
        """Execute an allowed action in this `with` block (cooperative). Set `result` on what it gives."""
        raw = self._propose(tool, {**(arguments or {}), **more}, reason, call_id, "begin", ticket).result()
        with self._begun(raw) as acting:
            yield acting

    @contextmanager
    def _begun(self, raw: dict[str, Any]) -> Iterator[Acting]:
        """The action that the node let this process begin; its end is told, whatever it is."""
        acting = Acting(runnable(read_verdict(raw["verdict"])))
        action = acting.verdict.entry
        self._gate._acting[action] = acting
        state, why = "failed", None
        try:
            yield acting
            state = "completed"
        except BaseException as error:
            why = f"{type(error).__name__}: {error}"[:300]
            raise
        finally:
            self._gate._acting.pop(action, None)
            self._settle(acting, acting.end(state), why)

    def _settle(self, acting: Acting, state: str, why: str | None) -> None:
        text = None if acting.result is None else json.dumps(acting.result, default=str)
        action = acting.verdict.entry
        try:
            self._gate.wire.call("settle", agent=self._agent, action=action, state=state, result=text, why=why)
        except Refused as error:
            if not acting.interrupted or error.code != "not-open":
                raise
            raise acting.stopped() from None  # it took longer than its grace: its stop is on record as unconfirmed

    def _propose(
        self, tool: str, arguments: dict[str, Any], reason: str | None, call_id: str | None, how: str,
        ticket: int | str | None, audience: str | None = None,
    ) -> Future[Any]:  # fmt: skip
        try:
            text = json.dumps(arguments)
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"arguments travel as JSON: {error}", hint="Give text, numbers, lists, dicts.") from error
        self._gate.keep(self._agent)
        target = self._gate.target(tool) if how == "execute" else None
        return self._gate.wire.ask(
            "act", agent=self._agent, run=self.id, call=call_id or uuid.uuid4().hex, tool=tool,
            arguments=text, reason=reason, how=how, target=target, ticket=None if ticket is None else int(ticket),
            audience=audience,
        )  # fmt: skip

    @staticmethod
    def _verdict(raw: dict[str, Any]) -> Verdict:
        return read_verdict(raw)

    @staticmethod
    def _outcome(raw: dict[str, Any]) -> Outcome:
        verdict = runnable(read_verdict(raw["verdict"]))
        result = raw["result"]
        output = base64.b64decode(result["output"])
        return Outcome(
            state=result["state"], result=read_output(output), entry=result["entry"], verdict=verdict,
            exit_code=result["exit_code"], why=result["why"],
        )  # fmt: skip


__all__ = ["Gate", "NotFound", "Run", "connect"]
