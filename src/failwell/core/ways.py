"""The ways round the gate that are tried, and what it means where one works (R5). Standard library only."""

from __future__ import annotations

from typing import Final

BYPASSABLE: Final = "bypassable"
HELD: Final = "held"
WAYS: Final = {
    "own-code": "nothing is declared to run for it: the agent's own code does, with whatever it needs",
    "command": "the declared command runs without a secret of the node's",
    "address": "its server answers whoever reaches its address, without a secret of the node's",
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
