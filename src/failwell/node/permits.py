"""Permits that leave the node: signed leave for one action, which a tool server checks offline (D29; `permits`).

A permit is made only for an action that is allowed, on record and still open, whose agent and scopes stand as they
stood when it was decided, and for the server that an operator declared for its tool. That it was issued is durable,
and for what cannot be undone sealed, before it leaves (`permit.issued`); the permit itself is in no entry and no blob.

What it does NOT do: call back what has left. Until it lapses a server that nobody told of a stop takes it, so a stop
names that time (`words`), and whether it was used only the server knows.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from failwell.core import canonical, kinds, stops
from failwell.core.errors import InputError, NotFound, Refused
from failwell.core.instants import format_at
from failwell.core.records import Draft
from failwell.core.state import State
from failwell.gate.verdicts import Verdict
from failwell.identity import permit_keys
from failwell.ledger.book import DRIFT_US
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.ledger.vault import commitment
from failwell.node import settings
from failwell.node.actions import TOLD
from failwell.node.broker import Held
from failwell.node.guarding import sealed
from failwell.node.redacting import Redaction
from failwell.node.watch import digest
from failwell.permits.claims import Claims

if TYPE_CHECKING:
    from failwell.node.service import Node

#: Where a tool that runs under a supervisor finds its permit.
VARIABLE: Final = "FAILWELL_PERMIT"
#: After so many permits those are forgotten whose actions have ended.
_LOOKED_THROUGH: Final = 4096
_SECOND_US: Final = 1_000_000


class Leave(msgspec.Struct, frozen=True, kw_only=True):
    """What goes to whoever acts: the token, for whom it is good, until when (RFC 3339), and the entry that says so."""

    token: str
    audience: str
    expires: str
    entry: int

    def __repr__(self) -> str:
        return f"Leave({self.audience}, {self.expires}, {self.entry})"


class _Bound(msgspec.Struct, frozen=True):
    """What the record knows of an action that its permit is bound to."""

    entry: int
    salt: str
    digest: str


class Permits:
    """Issues the permits of one node."""

    def __init__(self, node: Node) -> None:
        """Raises InputError where the key is there and others could use it."""
        self._node = node
        self._making = asyncio.Lock()
        self._key: permit_keys.PermitKey | None = None
        #: What left, by action: for whom and until when.
        self._left: dict[int, Leave] = {}
        self._looked_through_at = _LOOKED_THROUGH
        self._configured: tuple[settings.Settings | None, str] = (None, "")
        permit_keys.check_key(node.workspace.keys)
        node.runner.told_words = self.words

    # -- the key -----------------------------------------------------------------------------------------------

    async def key(self) -> permit_keys.PermitKey:
        """The key in force, on record; made when it is first needed."""
        async with self._making:
            if self._key is None:
                made = await asyncio.to_thread(permit_keys.open_key, self._node.workspace.keys)
                body = kinds.PermitKey(kid=made.kid, key=made.public)
                await self._node.writer.submit_async(_recorded(body))
                self._key = made
            return self._key

    async def published(self, _: Any) -> dict[str, Any]:
        """What tool servers are given: the set of keys, whose permits they are, and for whom there are any."""
        declared = {
            tool: declared.permit for tool, declared in sorted(self._node.settings.tools.items()) if declared.permit
        }
        if not declared:
            raise NotFound(
                "no tool of the settings speaks to a server that asks for permits",
                hint='Add permit = "AUDIENCE" to [tools."NAME"] in failwell.toml: docs/permits.md',
            )
        key = await self.key()
        return {
            "issuer": self._node.origin, "jwks": key.jwks(), "kid": key.kid, "audiences": declared,
            "lifetime_s": self._node.settings.permits.lifetime_s,
        }  # fmt: skip

    # -- issuing -----------------------------------------------------------------------------------------------

    async def issue(self, verdict: Verdict, audience: str) -> Leave:
        """A permit for an action that was just allowed. FailwellError, and nothing has left, where it may not be."""
        declared = self._node.settings.tools.get(verdict.tool)
        if declared is None or declared.permit != audience:
            raise Refused(
                f"{verdict.tool} is not declared to speak to {audience[:200]}",
                hint=f'An operator sets [tools."{verdict.tool}"] permit in failwell.toml: docs/permits.md',
            )
        key = await self.key()
        issued_us = self._node.clock.wall_us()
        lifetime_us = self._node.settings.permits.lifetime_s * _SECOND_US
        expires = (issued_us + lifetime_us) // _SECOND_US
        body = kinds.PermitIssued(
            decision=verdict.entry, jti=secrets.token_hex(16), kid=key.kid, audience=audience,
            expires=format_at(expires * _SECOND_US),
        )  # fmt: skip
        bound = await self._node.writer.submit_async(self._issued(verdict, body, issued_us))
        if verdict.irreversible:
            await sealed(self._node.writer.seals, bound.entry)
        claims = Claims(
            issuer=self._node.origin, audience=audience, agent=verdict.agent, jti=body.jti, issued_us=issued_us,
            expires=expires, tool=verdict.tool, action=verdict.entry, salt=bound.salt, digest=bound.digest,
            epoch=verdict.epoch, chain=verdict.chain, scopes=tuple(dict(verdict.scopes).items()),
        )  # fmt: skip
        leave = Leave(token=key.sign(claims), audience=audience, expires=body.expires, entry=bound.entry)
        self._remember(verdict.entry, leave)
        return leave

    def _issued(self, verdict: Verdict, body: kinds.PermitIssued, issued_us: int) -> Job[_Bound]:
        """The job that records a permit, where everything stands as it stood when the action was allowed."""

        def job(turn: Turn) -> Plan[_Bound]:
            action = turn.state.action.get(verdict.entry)
            if action is None:
                raise Refused(f"action {verdict.entry} is not open any more", code="not-open")
            if not stands(turn.state, verdict):
                raise Refused(f"{verdict.agent} was stopped before its permit left", code="fenced")
            workspace = turn.state.workspace[1]
            if workspace.configuration != self._configuration() or (workspace.permit_key or (0, ""))[1] != body.kid:
                raise Refused("the settings or the key of permits are being changed", hint="Ask again.", code="busy")
            # Permits lapse by the wall clock. Attack: one that was set forward gives them a longer life than is stated.
            if issued_us > turn.now_us + DRIFT_US:
                raise Refused("the machine's clock was set forward just now", hint="Ask again.", code="busy")
            salt, bound_to = _arguments(turn, verdict.entry)
            draft = Draft(body=body, actor="node", agent=action.agent, run=action.run, refs=(verdict.entry,))
            return Plan((draft,), lambda entries: _Bound(entries[0].seq, salt, bound_to))

        return job

    def _configuration(self) -> str:
        """The digest of the settings that this node goes by."""
        taken = self._node.settings
        if self._configured[0] is not taken:
            self._configured = taken, digest(settings.settings_text(taken))
        return self._configured[1]

    async def carry(self, verdict: Verdict, held: Held) -> Held:
        """What a supervised tool is started with, and its permit, which is taken out of whatever it says."""
        declared = self._node.settings.tools.get(verdict.tool)
        if declared is None or declared.permit is None:
            return held
        leave = await self.issue(verdict, declared.permit)
        # Without its signature a permit is worth nothing.
        hides = await asyncio.to_thread(Redaction, {VARIABLE: leave.token.rpartition(".")[2]})
        return replace(held, secrets={**held.secrets, VARIABLE: leave.token}, redaction=held.redaction.also(hides))

    # -- what has left -----------------------------------------------------------------------------------------

    def words(self, action: int) -> str:
        """Why nobody can confirm that an action was stopped whose caller acts by itself, and until when it could."""
        leave = self._left.get(action)
        if leave is None:
            return TOLD
        return (
            f"its permit for {leave.audience} was good until {leave.expires} by that server's clock, and its leeway:"
            " whether it was used nobody here sees, after that nothing of it starts"
        )

    def _remember(self, action: int, leave: Leave) -> None:
        self._left[action] = leave
        if len(self._left) > self._looked_through_at:
            told = self._node.fence.told()
            self._left = {each: kept for each, kept in self._left.items() if each in told or each == action}
            # Attack: thousands of leaves that nobody ends, each of which has all the others looked through.
            self._looked_through_at = max(_LOOKED_THROUGH, 2 * len(self._left))


def stands(state: State, verdict: Verdict) -> bool:
    """Whether nothing was stopped, or let go again, of what an action was allowed under."""
    for agent, epoch in ((verdict.agent, verdict.epoch), *verdict.chain):
        row = state.agent.get(agent)
        if row is None or row.epoch != epoch or row.key is None or (row.keyed or 0) > verdict.entry:
            return False
    agents = (verdict.agent, *dict(verdict.chain))
    scopes = stops.scopes_of(state, agents, verdict.tool)
    return stops.closed_by(state, agents, verdict.tool) is None and dict(stops.epochs_of(state, scopes)) == dict(
        verdict.scopes
    )


def _recorded(body: kinds.PermitKey) -> Job[None]:
    """The job that records a key, where it is not the newest one already."""

    def job(turn: Turn) -> Plan[None]:
        known = turn.state.workspace[1].permit_key
        drafts = () if known is not None and known[1] == body.kid else (Draft(body=body, actor="node"),)
        return Plan(drafts, lambda _: None)

    return job


def _arguments(turn: Turn, seq: int) -> tuple[str, str]:
    """The salt and the digest of a decision's arguments (D12); Refused where they are no JSON that a server gets."""
    decided, kept = turn.entry(seq), turn.secret(seq)
    if decided is None or kept is None or not isinstance(decided.body, kinds.Decision):
        raise Refused(f"the arguments of action {seq} are not to be had any more")
    text = str(kept["arguments"]).encode()
    try:
        whole = canonical.jcs(canonical.parse(text)) == text
    except InputError:
        whole = False
    if not whole or commitment(bytes.fromhex(kept["salt"]), text) != decided.body.arguments:
        raise Refused(f"the arguments of action {seq} are no JSON object that a server could be asked with")
    return str(kept["salt"]), decided.body.arguments
