"""The gate: a decorator for tools, a context manager for runs (`client.connecting` has the third word to learn).

A decorated function that a fresh process can import runs there, under a supervisor that can stop it. Any other one
(a closure, a notebook cell) stays in this process: it is `cooperative`, its stop cannot be confirmed, and the record
says so. What an agent may do stands in its contract, never here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from failwell.client import proofs
from failwell.client.answers import Ticket, read_ticket
from failwell.client.awaited import AsyncRun
from failwell.client.declared import declared
from failwell.client.run import Run, current
from failwell.client.stopped import Acting
from failwell.client.streams import Feed
from failwell.client.tools import F, Tool, govern
from failwell.client.wire import Asking
from failwell.execute.function import import_path, make_command

#: What says where this user's node, keys and guards lie.
_PLACES = ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "FAILWELL_CONFIG", "FAILWELL_STATE")


class Gate:
    """A connection to the node. Thread-safe; close it with `close` or a `with` block."""

    def __init__(self, wire: Asking, config: Path, workspace: Path | None = None) -> None:
        self.wire: Asking = wire
        self._workspace = workspace
        self._config = config
        self._proved: dict[str, proofs.Proof] = {}
        self._proving = threading.Lock()
        self._tools: dict[str, Tool] = {}
        #: What this process runs itself, by action; and what it streams from the node, by run and call.
        self.acting: dict[int, Acting] = {}
        self.feeds: dict[tuple[int | None, str], Feed] = {}
        wire.on_push = self._pushed

    def tool(self, name: str) -> Callable[[F], F]:
        """Register a function as the tool `name`. Called inside a run, it goes through the gate.

        What comes back has its signature: an async function is awaited, a generator's results come as it yields them
        (`Run.stream`), a method stays with its object, in this process. Arguments travel by name and as JSON, as do
        results. A default is not an argument: what the contract is to judge must be given.
        """

        def register(function: F) -> F:
            made = Tool(name, function)
            self._tools[name] = made
            return govern(made, current, function)

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

    def notice(
        self, agent: str, notice: str, *, host: str, severity: str = "minor", words: str | None = None,
        actions: Sequence[int] = (),
    ) -> int:  # fmt: skip
        """Say as `host` that something is off with `agent`: `answer-off-topic`, or whatever it calls that; its entry.

        `severity` is minor, major or critical; `words` are sealed; `actions` are the entries of decisions that it is
        about. What follows is up to the agent's contract, or to the default ladder.
        """
        self.prove("host", host)
        said = {"notice": notice, "severity": severity, "words": words, "actions": list(actions)}
        return int(self.wire.call("notice", agent=agent, said=said))

    def ticket(self, number: int | str) -> Ticket:
        """How a ticket stands: open, approved, used, denied or expired. NotFound where there is none."""
        return read_ticket(self.wire.call("ask", about="ticket", key=number))

    def stays(self, tool: str) -> bool:
        """Whether the function registered for `tool` runs in this process: no other one can import it."""
        return tool in self._tools and self.target(tool) is None

    def unbound(self, tool: str) -> Callable[..., Any]:
        """The function registered for `tool`; InputError where it needs its object."""
        return self._tools[tool].unbound()

    def target(self, tool: str) -> dict[str, Any] | None:
        """How a fresh process runs the function registered for `tool`; None when it must stay in this process."""
        registered = self._tools.get(tool)
        named = None if registered is None else registered.importable()
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
        """What the node says unasked; called from the connection's thread."""
        if message["push"] == "output":
            feed = self.feeds.get((message["run"], message["call"]))
            if feed is not None:
                feed.add(message)
        elif message["push"] == "interrupt" and (acting := self.acting.get(int(message["action"]))) is not None:
            acting.ask_to_stop()

    def close(self) -> None:
        self.wire.close()

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
