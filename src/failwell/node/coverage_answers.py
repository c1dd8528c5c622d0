"""What is told of who is on call, and of what would go wrong with how people are told: now, or once something proposed
is in force.

A month of turns is not worked out in the writer's turn: it is looked at in a copy, beside it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from failwell.core import contract as contracts
from failwell.core import tickets
from failwell.core.errors import InputError, NotFound
from failwell.core.escalation import lint
from failwell.core.escalation.settings_of import escalating_of
from failwell.core.incidents.agreed import settings_of
from failwell.core.instants import format_at
from failwell.core.projections import Projections
from failwell.ledger.jobs import Plan, Turn
from failwell.node.zones import zones_of_text
from failwell.response.team_told import TeamTold, team_told

if TYPE_CHECKING:
    from failwell.node.service import Node

#: How far ahead turns are looked at where nothing is said, and at most.
DAYS, MOST_DAYS = 31, 366


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to be looked at: so many days ahead, with these settings (canonical text) or this contract (canonical
    bytes) as if they were in force.
    """

    days: int = DAYS
    settings: str | None = None
    contract: str | None = None


class CoverageAnswers:
    """Answers about teams and paths of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def linted(self, key: Any) -> dict[str, Any]:
        """Everything that is wrong with how people would be told."""
        try:
            asked = msgspec.convert(key or {}, Asked)
        except msgspec.ValidationError as error:
            raise InputError(f"this cannot be looked at: {error}") from error
        if not 1 <= asked.days <= MOST_DAYS:
            raise InputError(f"{asked.days} days ahead cannot be looked at", hint=f"--days 1 to {MOST_DAYS}")
        state, now_us = await self._still()
        return await asyncio.to_thread(_linted, state, now_us, asked)

    async def teams(self, key: Any) -> list[dict[str, Any]]:
        """All teams."""
        state, now_us = await self._still()
        escalating = state.workspace[1].escalation
        named = () if escalating is None else escalating.teams
        return await asyncio.to_thread(lambda: [_told(team_told(state, team, now_us)) for team, _ in named])

    async def team(self, key: Any) -> dict[str, Any]:
        """One team: who is on call, who is next, who covers."""
        state, now_us = await self._still()
        told = await asyncio.to_thread(team_told, state, str(key), now_us)
        if told is None:
            raise NotFound(f"there is no team {key}", hint="failwell team list; teams are declared in failwell.toml.")
        return _told(told)

    async def _still(self) -> tuple[Projections, int]:
        def job(turn: Turn) -> Plan[tuple[Projections, int]]:
            seen = lint.still(turn.state), turn.now_us
            return Plan((), lambda entries: seen)

        return await self._node.writer.submit_async(job)


def _linted(state: Projections, now_us: int, asked: Asked) -> dict[str, Any]:
    if asked.settings is not None:
        state = _with_settings(state, asked.settings, now_us)
    instead = {}
    if asked.contract is not None:
        contract = contracts.from_canonical(asked.contract.encode())
        instead[contract.agent] = contract
    found = lint.lint(state, now_us, asked.days, instead)
    return {"days": asked.days, "at": format_at(now_us), "findings": [msgspec.to_builtins(each) for each in found]}


def _with_settings(state: Projections, text: str, now_us: int) -> Projections:
    zones = [body.zones for body in (draft.body for draft in zones_of_text(text, now_us)) if hasattr(body, "zones")]
    return lint.proposed(
        state, escalating_of(text), settings_of(text).objectives, tickets.mails(text), zones[0] if zones else ()
    )


def _told(told: TeamTold | None) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(told)
    return fields
