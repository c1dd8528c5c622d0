"""Whether a tool can be reached round the gate from where its agent runs: what was tried, and what of it worked (R5).

A way that worked stays until it is tried again and fails: what was left out of a later attempt is not mended by it.
That something is held is the word of the agent's side alone; that it is bypassable counts from whoever says it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from failwell.core import kinds, rows
from failwell.core.errors import Corrupt
from failwell.core.projections import Projections
from failwell.core.records import Entry

BYPASSABLE: Final = "bypassable"
HELD: Final = "held"
#: What can be tried, and what it means where it worked.
WAYS: Final = {
    "own-code": "nothing is declared to run for it: the agent's own code does, with whatever it needs",
    "command": "the declared command runs without a secret of the node's",
    "probe": "its probe used it without anything of the node's",
    "secret-file": "the file that holds its secret can be read",
    "secret-variable": "the variable that holds its secret is set there",
    "secret-command": "the command that prints its secret answers there",
    "tool-environment": "the node's processes can be looked into, and so the environment of the tool",
    "workspace-keys": "the node's keys can be read: another node can be made, or a permit signed",
}


def place_of(agent: str, tool: str) -> str:
    """The key of a custody row; no agent's id and no tool's name has a space."""
    return f"{agent} {tool}"


def state_of(ways: tuple[str, ...]) -> str:
    """What it comes to that these ways worked."""
    return BYPASSABLE if ways else HELD


def _probed(state: Projections, entry: Entry[Any], body: kinds.CustodyProbed, at_us: int) -> None:
    agent = str(entry.agent)
    # Attack: another agent's word, which has a way forgotten that works.
    if agent not in state.agent or entry.actor != f"agent:{agent}":
        raise Corrupt(f"entry {entry.seq} says what {agent} can reach, which only its own side says")
    if (
        not body.tried
        or len(set(body.tried)) != len(body.tried)
        or not set(body.ways) <= set(body.tried) <= set(WAYS)
        or body.state != state_of(body.ways)
    ):
        raise Corrupt(f"entry {entry.seq} says of {body.tool} what its own ways do not")
    place = place_of(agent, body.tool)
    was = state.custody.get(place)
    kept = () if was is None else tuple(way for way in was.ways if way not in body.tried)
    ways = (*body.ways, *kept)
    state.put("custody", place, rows.Custody(agent=agent, state=state_of(ways), ways=ways, probed=entry.seq))


FOLDS: dict[type, Callable[[Projections, Entry[Any], Any, int], None]] = {kinds.CustodyProbed: _probed}
