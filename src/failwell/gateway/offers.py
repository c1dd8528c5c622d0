"""What the agent's client is shown: which names the offered tools have there, and which of them are left out.

With one server its own names stay, so that a client entry can be replaced without anybody noticing; with several a name
is SERVER__TOOL. Only accepted definitions are shown; names of whatever is left out are for the operator's eyes. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, NamedTuple

from failwell.gateway.backend import LeftOut, Offered, ToolOffered, UpstreamOffered
from failwell.gateway.messages import OURS, encode

#: Between a server's name and a tool's.
BETWEEN = "__"
#: What agents' models take for the name of a tool.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNFIT = "is no name that every model takes: 1 to 64 of A-Z a-z 0-9 _ -"
_CLASH = "has the same name as another tool here; none of them is offered"


class Target(NamedTuple):
    """What a name that the client uses stands for. `offer` is None for a tool that is not offered."""

    server: str | None
    tool: str
    offer: ToolOffered | None = None


class Offering:
    """One state of what may be used. `single`: the only server's names stay as they are."""

    def __init__(self, offered: Offered, *, single: bool) -> None:
        self.offered = offered
        self.single = single
        self.servers: dict[str, UpstreamOffered] = {each.name: each for each in offered.upstreams}
        named = [(self.name_of(server.name, _own(server, tool)), server, tool) for server in offered.upstreams
                 for tool in server.tools]  # fmt: skip
        often = Counter(name for name, _, _ in named)
        self.tools: dict[str, Target] = {}
        self._left_out: list[LeftOut] = [LeftOut(name=each.name, why=each.why) for each in offered.failed]
        self._left_out += [
            LeftOut(name=f"{server.name}.{each.name}", why=each.why)
            for server in offered.upstreams for each in server.left_out
        ]  # fmt: skip
        for name, server, tool in named:
            why = self._unfit(name, often[name])
            if why is None:
                self.tools[name] = Target(server.name, tool.tool, tool)
            else:
                self._left_out.append(LeftOut(name=tool.tool, why=why))
        self.tools_json = b"[" + b",".join(_shown(name, self.tools[name]) for name in self.tools) + b"]"

    def _unfit(self, name: str, often: int) -> str | None:
        if often > 1:
            # Attack: a server that names its tool so that it takes another's calls.
            return _CLASH
        return None if self.single or _NAME.fullmatch(name) else f"{name} {_UNFIT}"

    def name_of(self, server: str, own: str) -> str:
        """The name that a tool or a prompt of `server` has for the client."""
        return own if self.single else f"{server}{BETWEEN}{own}"

    def tool(self, name: str) -> Target:
        """What a called name stands for. One that is not offered still gets to the gate, which denies it on record."""
        known = self.tools.get(name)
        if known is not None:
            return known
        server, own = self.split(name)
        return Target(server, name if server is None else f"{server}.{own}")

    def split(self, name: str) -> tuple[str | None, str]:
        """(server, its own name) of a name that the client uses; no server where none is meant."""
        if self.single:
            # Also while it is not there: what is asked of it is judged as what it is.
            return next(iter([*self.servers, *(each.name for each in self.offered.failed)]), None), name
        for server in self.servers:
            if name.startswith(server + BETWEEN):
                return server, name[len(server) + len(BETWEEN) :]
        return None, name

    def with_method(self, method: str) -> list[str]:
        """The servers that may be asked `method`."""
        return [name for name, server in self.servers.items() if method in server.methods]

    @property
    def left_out(self) -> list[LeftOut]:
        """For the operator: what is not offered, and why."""
        return self._left_out

    def meta(self) -> dict[str, Any]:
        """What a listing says of itself. Attack: a tool whose name is an instruction, and that is named as left out."""
        return {OURS + "left_out": len(self._left_out)} if self._left_out else {}

    def same_tools(self, other: Offering) -> bool:
        return self.tools_json == other.tools_json

    def same_methods(self, other: Offering, kind: str) -> bool:
        """Whether the same may be asked about `kind` (resources, prompts) of the same servers."""
        return self._methods(kind) == other._methods(kind)

    def _methods(self, kind: str) -> dict[str, set[str]]:
        return {
            name: {method for method in server.methods if method.startswith(f"{kind}/")}
            for name, server in self.servers.items()
        }


def _own(server: UpstreamOffered, tool: ToolOffered) -> str:
    return tool.tool.removeprefix(f"{server.name}.")


def _shown(name: str, target: Target) -> bytes:
    offer = target.offer
    assert offer is not None
    return encode({**offer.definition, "name": name})
