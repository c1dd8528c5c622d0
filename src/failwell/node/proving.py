"""Who is at the door: keys, certificates and tokens as proof, certificates made out, and identities taken away (R3).

A connection proves an agent by answering the greeting's challenge with the agent's key or with the key of a
certificate, or by a token of a trusted provider. What it has proved holds until the certificate or token lapses, or
until the agent's key is revoked or replaced: that takes effect on open connections before it is durable, as the fence
does (I8).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from failwell.core import kinds
from failwell.core.errors import Corrupt, FailwellError, InputError, Refused
from failwell.core.instants import format_at, parse_at
from failwell.core.records import Draft, Entry, decode_entry
from failwell.core.rows import Agent
from failwell.core.state import State
from failwell.identity import agents, keys, svids
from failwell.identity import issuer as issuers
from failwell.identity.issuer import Issuer
from failwell.ledger.book import Book
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.node import foreign
from failwell.node.requests import Certify, Hello

if TYPE_CHECKING:
    from failwell.node.door import Connection
    from failwell.node.service import Node

#: Certificates of one agent that may be in force at once: more are refused, its key still proves.
MAX_IN_FORCE = 64
#: Why an action was stopped or never started whose agent's key was revoked or replaced meanwhile.
KEY_GONE = "the key that its caller proved itself with is not in force any more"
_NEVER_US = 2**62


class Held(NamedTuple):
    """How an identity was proved (key, certificate, svid or token), and until when that holds.

    `until_us` is in wall time, `until_mono_us` by the boot clock. `stands`: whether who vouched is trusted still.
    """

    way: str
    until_us: int
    until_mono_us: int
    stands: Callable[[], bool] | None = None


class Identities:
    """The agents that one connection has proved to be. Asked by the loop, taken from by the writer's thread."""

    def __init__(self, wall_us: Callable[[], int], mono_us: Callable[[], int]) -> None:
        self._wall_us = wall_us
        self._mono_us = mono_us
        self._held: dict[str, Held] = {}

    def __contains__(self, agent: str) -> bool:
        held = self._held.get(agent)
        if held is None:
            return False
        over = held.until_us < _NEVER_US and (self._wall_us() >= held.until_us or self._mono_us() >= held.until_mono_us)
        if over or (held.stands is not None and not held.stands()):
            self.lose(agent)
            return False
        return True

    def __bool__(self) -> bool:
        return any(agent in self for agent in tuple(self._held))

    def add(self, agent: str, held: Held) -> None:
        """One more proof; of several for one agent the one that holds longest counts."""
        known = self._held.get(agent)
        if known is None or agent not in self or known.until_us <= held.until_us:
            self._held[agent] = held

    def lose(self, agent: str) -> None:
        self._held.pop(agent, None)

    def way(self, agent: str) -> str:
        held = self._held.get(agent)
        return "" if held is None else held.way


class _Known(NamedTuple):
    """An agent as it stood in one turn of the writer: `losses` tells a change that came after."""

    agent: str
    row: Agent
    key: str
    issuer: str | None
    now_us: int
    losses: int


class Proving:
    """Judges the proofs of one node's callers, and makes certificates out to those who hold."""

    def __init__(self, node: Node, book: Book) -> None:
        """Raises InputError where the issuer's key is there and others could use it."""
        self._node = node
        self._losses: dict[str, int] = {}
        self._shown = foreign.Shown()
        self._started_us = foreign.start_us(node.clock.wall_us())
        self._making = asyncio.Lock()
        #: The authority on record: its certificate, and with its key what can issue.
        self._authority: bytes | None = None
        self._issuer: Issuer | None = None
        #: Why the authority on record cannot issue any more, where that is so.
        self._void: str | None = None
        path = node.workspace.keys / issuers.FILE_NAME
        if path.exists():
            keys.check_private(path)
        recorded = book.state.workspace[1].issuer
        if recorded is not None:
            self._authority = _recorded_certificate(book, recorded[0])
            found = issuers.load_issuer(node.workspace.keys, self._authority, book.origin)
            self._issuer, self._void = (found, None) if isinstance(found, Issuer) else (None, found)

    def begin(self) -> tuple[Draft, ...]:
        """What the first node that may write says of an authority whose key is gone: what that issued is void."""
        if self._void is None:
            return ()
        why, self._void = self._void, None
        self._issuer = self._make()
        return (issuer_draft(self._issuer, why),)

    # -- observers of the writer (its thread) ------------------------------------------------------------------

    def before(self, entry: Entry[Any]) -> None:
        """A key changes: whoever proved to be the agent proves nothing from now on, durable or not."""
        if isinstance(entry.body, kinds.AgentKey) and entry.agent is not None:
            self._node.fence.take_key(entry.agent, entry.seq)
            self._losses[entry.agent] = self._losses.get(entry.agent, 0) + 1
            for connection in tuple(self._node.connections):
                connection.agents.lose(entry.agent)

    def after(self, entry: Entry[Any]) -> None:
        """It is durable: what ran for the old key is stopped as for a caller that is gone; a new key opens anew."""
        body, agent = entry.body, entry.agent
        if isinstance(body, kinds.AgentKey) and agent is not None:
            self._node.runner.abandon(self._node.fence.acting(agent), KEY_GONE)
            if body.status == "active":
                self._node.fence.give_key(agent)
        elif isinstance(body, kinds.IdentityIssuer):
            self._authority = base64.b64decode(body.certificate)

    def dropped(self, entries: list[Entry[Any]]) -> None:
        """The store took none of it: the key that was in force is so still, and has to be proved anew."""
        for entry in entries:
            if isinstance(entry.body, kinds.AgentKey) and entry.agent is not None:
                row = self._node.writer.book.state.agent.get(entry.agent)
                if row is not None and row.key is not None:
                    self._node.fence.give_key(entry.agent)

    # -- proofs ------------------------------------------------------------------------------------------------

    async def hello(self, connection: Connection, request: Hello) -> dict[str, Any]:
        """Take up a proof of identity. Whoever fails is counted, not recorded one by one (D26)."""
        try:
            if request.role == "host":
                return await self._host(connection, request)
            return await self._agent(connection, request)
        except (FailwellError, *svids.BROKEN) as error:
            what = "certificate" if request.certificate is not None else "token" if request.token is not None else None
            role = request.role if request.role in agents.ROLES else "an unknown role"
            told = f"no proof for {role}" if what is None else f"no {what} that holds"
            self._node.refusals.count(f"pid:{connection.peer_pid}", told)
            if not isinstance(error, FailwellError):
                raise Refused("what is shown cannot be read", code="unauthenticated") from error
            raise Refused(error.message, hint=error.hint, code="unauthenticated") from error

    async def _host(self, connection: Connection, request: Hello) -> dict[str, Any]:
        if request.certificate is not None or request.token is not None:
            raise Refused("a host proves itself with its key")
        host = await self._node.questions.look(lambda state: state.host.get(request.name))
        if host is None or not agents.check_proof(
            base64.b64decode(host.key), self._node.origin, "host", request.name, connection.challenge, self._node.name,
            _bytes(request.proof),
        ):  # fmt: skip
            raise Refused(f"the proof for {request.role} {request.name} does not hold")
        connection.host = request.name
        return {"proved": request.name}

    async def _agent(self, connection: Connection, request: Hello) -> dict[str, Any]:
        known: _Known | None = None
        node, trust = self._node, self._node.settings.trust
        if request.role == "agent":
            known = await self._node.writer.submit_async(self._known(request.name))
        if known is None or (request.certificate is not None and request.token is not None):
            raise Refused(f"the proof for {request.role} {request.name} does not hold")
        if request.certificate is not None:
            held = await self._certificate(connection, request, known)
        elif request.token is not None:
            held = await self._token(request, known)
        else:
            held = self._key(connection, request, known)
        if held.way in ("svid", "token"):
            # Attack: an authority that was given up, because it was broken into, lives on in what it had opened.
            held = held._replace(stands=lambda: node.settings.trust == trust)
        connection.agents.add(known.agent, held)
        # INVARIANT: a key that was revoked since it was looked at proves nothing. The writer's thread counts first and
        # takes away then, so that either it takes this identity, or this sees the count.
        if self._losses.get(known.agent, 0) != known.losses:
            connection.agents.lose(known.agent)
            raise Refused(KEY_GONE)
        self._node.note_peer(known.agent, connection.peer_pid)
        until = None if held.until_us == _NEVER_US else format_at(held.until_us)
        return {"proved": known.agent, "way": held.way, "until": until}

    def _known(self, name: str) -> Job[_Known | None]:
        def job(turn: Turn) -> Plan[_Known | None]:
            agent = turn.state.agent_named(name)
            row = None if agent is None else turn.state.agent[agent]
            issuer = turn.state.workspace[1].issuer
            known = None
            if agent is not None and row is not None and row.key is not None:
                losses = self._losses.get(agent, 0)
                known = _Known(agent, row, row.key, None if issuer is None else issuer[1], turn.now_us, losses)
            return Plan((), lambda _: known)

        return job

    def _key(self, connection: Connection, request: Hello, known: _Known) -> Held:
        if not agents.check_proof(
            base64.b64decode(known.key), self._node.origin, "agent", request.name, connection.challenge,
            self._node.name, _bytes(request.proof),
        ):  # fmt: skip
            raise Refused(f"the proof for agent {request.name} does not hold")
        return Held("key", _NEVER_US, _NEVER_US)

    # -- certificates ------------------------------------------------------------------------------------------

    async def _certificate(self, connection: Connection, request: Hello, known: _Known) -> Held:
        """Attack: a certificate of another authority, name, time or purpose; one seen on its way, without its key."""
        chain = svids.parse_chain(request.certificate or "")
        leaf, now = chain[0], issuers.instant(known.now_us)
        wanted = issuers.spiffe_id(known.agent, issuers.trust_domain(self._node.origin))
        way = "certificate"
        if self._issued_here(known, chain):
            # Attack: a certificate that was made with the authority's stolen key and is on nobody's record, or is void.
            made = issuers.serial_text(leaf.serial_number), svids.raw_key(leaf)
            if made not in {(held.serial, held.key) for held in known.row.certificates}:
                raise Refused("the certificate is not on record, or is void since the agent's key changed")
        else:
            way = "svid"
            await self._foreign(known, chain, wanted)
        svids.check_leaf(leaf, wanted, now)
        signed = agents.hello_bytes(
            self._node.origin, "agent", request.name, connection.challenge, self._node.name
        )  # fmt: skip
        if not svids.check_signature(leaf, signed, _bytes(request.proof)):
            raise Refused("the proof was not made with the certificate's key")
        return self._until(way, min(issuers.micros(each.not_valid_after_utc) for each in chain), known)

    def _issued_here(self, known: _Known, chain: tuple[Any, ...]) -> bool:
        """Whether the authority in force issued it, which must be in force itself."""
        if self._authority is None or known.issuer is None or self._void is not None:
            return False
        authority = svids.parse_chain(base64.b64encode(self._authority).decode())[0]
        if not svids.issued_by(chain[0], authority):
            return False
        svids.check_path(chain[:1], (authority,), issuers.instant(known.now_us))
        return True

    async def _foreign(self, known: _Known, chain: tuple[Any, ...], wanted: str) -> None:
        node = self._node
        refused: FailwellError = Refused("the certificate does not chain to the authority of this workspace")
        for trusted in foreign.svid_trusts(node.settings.trust, wanted):
            try:
                await foreign.check_svid(trusted, chain, issuers.instant(known.now_us), node.workspace.path)
            except FailwellError as error:
                refused = error
                continue
            if issuers.micros(chain[0].not_valid_before_utc) < self._rekeyed_us(known):
                raise Refused("the certificate is older than the agent's key", hint="Have it issued again.")
            return
        raise refused

    def _rekeyed_us(self, known: _Known) -> int:
        """When the agent's key was replaced last, 0 where it is the one it was registered with.

        Attack: a foreign proof that was stolen with the old key, after the agent got a new one.
        """
        keyed = known.row.keyed
        stored = None if keyed is None or keyed == known.row.registered + 1 else self._node.storage.entry(keyed)
        return 0 if stored is None else parse_at(decode_entry(stored.data).at)

    async def _token(self, request: Hello, known: _Known) -> Held:
        node = self._node
        now_us = max(known.now_us, node.clock.wall_us())
        claims, marks = await foreign.check_token(
            node.settings.trust, (known.agent, known.row.name), request.token or "", node.workspace.path,
            now_us=now_us, since_us=max(self._started_us, self._rekeyed_us(known)),
        )  # fmt: skip
        self._shown.take(marks, claims.expires_us, now_us)
        return self._until("token", claims.expires_us, known)

    def _until(self, way: str, until_us: int, known: _Known) -> Held:
        return Held(way, until_us, self._node.clock.mono_us() + until_us - known.now_us)

    async def certify(self, connection: Connection, request: Certify) -> dict[str, Any]:
        """A certificate over a fresh key, for an agent that the connection has proved to be. Asked again, a new one."""
        agent = request.agent
        connection.need(agent)
        if connection.agents.way(agent) not in ("key", "certificate"):
            raise Refused("who is vouched for by another authority gets its certificates there, not here")
        try:
            public = keys.check_public(base64.b64decode(request.key, validate=True))
        except (binascii.Error, ValueError) as error:
            raise InputError("the key is 32 bytes in base64") from error
        minutes = self._node.settings.identity.certificate_minutes
        async with self._making:
            if self._issuer is None:
                made = await asyncio.to_thread(self._make)
                draft = issuer_draft(made, "the first certificate was asked for")
                await self._node.writer.submit_async(lambda turn: Plan((draft,), lambda _: None))
                self._issuer = made
            issuer = self._issuer
        job = make_out(agent, public, issuer, minutes, lambda: agent in connection.agents)
        answer: dict[str, Any] = await self._node.writer.submit_async(job)
        return answer

    def _make(self) -> Issuer:
        node = self._node
        serial = secrets.token_bytes(issuers.SERIAL_BYTES)
        return issuers.make_issuer(node.workspace.keys, node.origin, node.clock.wall_us(), serial)


def make_out(
    agent: str, public: bytes, issuer: Issuer, minutes: int, proved: Callable[[], bool]
) -> Job[dict[str, Any]]:
    """The job that makes a certificate out and records it; Refused for a key that is anybody's already."""
    key = base64.b64encode(public).decode()

    def job(turn: Turn) -> Plan[dict[str, Any]]:
        row, in_force = turn.state.agent[agent], turn.state.workspace[1].issuer
        # Attack: the key is replaced while this waits, and the thief of the old one gets a certificate after it.
        if row.key is None or row.keyed is None or not proved():
            raise Refused(KEY_GONE, code="unauthenticated")
        if in_force is None or in_force[1] != issuer.digest:
            raise Refused("the workspace's authority was replaced meanwhile", hint="Ask again.", code="busy")
        if key in _taken(turn.state, agent):
            raise Refused("this key is in use already", hint="Make a fresh key for each certificate.")
        held = sum(1 for each in row.certificates if each.not_after_us > turn.now_us)
        if held >= MAX_IN_FORCE:
            raise Refused(f"{held} certificates of {row.name} are in force", hint="Use one of them, or its key.")
        name = issuers.spiffe_id(agent, issuers.trust_domain(turn.state.origin))
        made = issuer.issue(name, public, turn.entropy(issuers.SERIAL_BYTES), turn.now_us, minutes)
        serial = issuers.serial_text(svids.parse_chain(base64.b64encode(made.certificate).decode())[0].serial_number)
        body = kinds.AgentCertificate(
            serial=serial, key=key, issuer=issuer.digest, certificate=base64.b64encode(made.certificate).decode(),
            not_before=format_at(made.not_before_us), not_after=format_at(made.not_after_us),
        )  # fmt: skip
        draft = Draft(body=body, actor="node", agent=agent, refs=(in_force[0], row.keyed))
        told = {
            "agent": agent, "spiffe_id": name, "serial": serial, "not_after": body.not_after,
            "certificate": issuers.pem(made.certificate), "issuer": issuers.pem(issuer.certificate),
        }  # fmt: skip
        return Plan((draft,), lambda entries: {**told, "entry": entries[0].seq})

    return job


def _taken(state: State, agent: str) -> set[str]:
    """Keys that prove somebody already: persons', hosts', agents' own, and those of other agents' certificates."""
    rows = state.agent.items()
    return {
        *(person.key for person in state.person.values()), *(host.key for host in state.host.values()),
        *(row.key for _, row in rows if row.key is not None),
        *(held.key for name, row in rows if name != agent for held in row.certificates),
    }  # fmt: skip


def issuer_draft(issuer: Issuer, why: str) -> Draft:
    """The entry by which an authority comes into force."""
    certificate = base64.b64encode(issuer.certificate).decode()
    return Draft(body=kinds.IdentityIssuer(certificate=certificate, digest=issuer.digest, why=why), actor="node")


def _recorded_certificate(book: Book, seq: int) -> bytes:
    stored = book.storage.entry(seq)
    body = None if stored is None else decode_entry(stored.data).body
    if not isinstance(body, kinds.IdentityIssuer):
        raise Corrupt(f"entry {seq} is not the issuer that the record names", hint="failwell ledger verify")
    return base64.b64decode(body.certificate)


def _bytes(text: str) -> bytes:
    """Base64, empty where it is none: a proof that does not hold."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
