"""Permits that left the node, held against what they stand on: their decision, the stops since, and the settings (D29).

A permit is leave that no process of ours shows: who issues one for what was not allowed, or for what was stopped, lets
it happen elsewhere, signed. So each entry must name an open action that was allowed, whose agent and scopes nobody
stopped since, once; the key on record; the server that the settings in force name for its tool; and no longer life than
they state. The permits themselves are in no record: whether they were used only their servers can show.
"""

from __future__ import annotations

import base64
import json
import re
from binascii import Error as NotBase64
from hashlib import sha256
from typing import Any, Final

from failwell.core import kinds, stops
from failwell.core.instants import parse_at
from failwell.core.records import Entry
from failwell.core.rows import Action
from failwell.core.state import State

#: How far the wall clock, by which permits lapse, may stand ahead of ledger time (`ledger.book`).
AHEAD_US: Final = 2_000_000
#: What holds where settings say nothing.
LIFETIME_S: Final = 30
_JTI: Final = re.compile(r"[0-9a-f]{32}")
_SECOND_US: Final = 1_000_000


class Permitted:
    """See `verify.conduct.Rule`: takes the entries in order, each before it is folded."""

    code = "permit"

    def __init__(self) -> None:
        #: The newest entry by which permits of an agent, or within a scope, became void.
        self._voided: dict[str, int] = {}
        self._audiences: dict[str, str] = {}
        self._lifetime_us = LIFETIME_S * _SECOND_US
        self._issued: set[bytes] = set()
        self._actions: set[int] = set()

    def fault(self, entry: Entry[Any], state: State) -> str | None:
        """Note what voids permits and who may have them, and hold each permit and key against it; what is wrong."""
        match entry.body:
            case kinds.AuthorityChanged() | kinds.AgentKey():
                self._voided[f"agent:{entry.agent}"] = entry.seq
            case kinds.ScopeStopped() as stopped:
                self._voided[stopped.scope] = entry.seq
            case kinds.Config() as config:
                self._configured(config.text)
            case kinds.Outcome() as outcome:
                self._actions.discard(outcome.decision)
            case kinds.PermitKey() as key:
                return _key_fault(entry, key)
            case kinds.PermitIssued() as permit:
                return self._permit_fault(entry, permit, state)
        return None

    def _configured(self, text: str) -> None:
        try:
            said = json.loads(text)
            tools = {name: fields.get("permit") for name, fields in said["tools"]}
            lifetime_s = int(said.get("permits", {}).get("lifetime_s", LIFETIME_S))
        except (ValueError, LookupError, TypeError, AttributeError):
            tools, lifetime_s = {}, 0  # settings that cannot be read let nothing leave
        self._audiences = {name: audience for name, audience in tools.items() if audience is not None}
        self._lifetime_us = lifetime_s * _SECOND_US

    def _permit_fault(self, entry: Entry[Any], body: kinds.PermitIssued, state: State) -> str | None:
        action = state.action.get(body.decision)
        if action is None or action.state != "open":
            return f"a permit for {body.decision}, which is no open action that was allowed"
        if (entry.actor, entry.agent, entry.run) != ("node", action.agent, action.run):
            return "the permit is another agent's or run's than its action, or not of the node"
        if entry.refs[:1] == () or entry.refs[0].seq != body.decision:
            return "the permit does not cite its decision"
        if body.decision in self._actions:
            return f"a second permit for {body.decision}: it is leave to act once"
        self._actions.add(body.decision)
        return (
            self._stopped(body, action, state)
            or self._token_fault(body, state)
            or self._bound_fault(entry, body, action)
        )

    def _stopped(self, body: kinds.PermitIssued, action: Action, state: State) -> str | None:
        """Whether something was stopped, or let go again, between the decision and its permit."""
        agents = (*action.chain, action.agent)
        for name in agents:
            row = state.agent.get(name)
            if row is None or row.key is None:
                return f"a permit for {name}, whose key is not in force"
        if (scope := stops.closed_by(state, agents, action.tool)) is not None:
            return f"a permit within {scope}, which is stopped"
        within = (*(f"agent:{name}" for name in agents), *stops.scopes_of(state, agents, action.tool))
        late = next((scope for scope in within if self._voided.get(scope, -1) > body.decision), None)
        return None if late is None else f"a permit for {body.decision}, though {late} was stopped after that"

    def _token_fault(self, body: kinds.PermitIssued, state: State) -> str | None:
        key = state.workspace[1].permit_key
        if key is None or key[1] != body.kid:
            return "the permit is signed with another key than the one on record"
        if not _JTI.fullmatch(body.jti):
            return "the permit's number is none"
        number = bytes.fromhex(body.jti)
        if number in self._issued:
            return "the permit has the number of an earlier one"
        self._issued.add(number)
        return None

    def _bound_fault(self, entry: Entry[Any], body: kinds.PermitIssued, action: Action) -> str | None:
        if self._audiences.get(action.tool) != body.audience:
            return f"the permit is for {body.audience}, which the settings do not name for {action.tool}"
        if parse_at(body.expires) > parse_at(entry.at) + self._lifetime_us + AHEAD_US:
            return "the permit lives longer than the settings let one"
        return None


def _key_fault(entry: Entry[Any], body: kinds.PermitKey) -> str | None:
    """A key's id is its own thumbprint (RFC 7638, RFC 8037 A.3)."""
    try:
        raw = base64.b64decode(body.key, validate=True)
    except (NotBase64, ValueError):
        raw = b""
    if entry.actor != "node" or entry.agent is not None or len(raw) != 32:
        return "the key of permits is none, or not of the node"
    text = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": _text(raw)}, separators=(",", ":"))
    return None if body.kid == _text(sha256(text.encode()).digest()) else "the key of permits has another key's id"


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
