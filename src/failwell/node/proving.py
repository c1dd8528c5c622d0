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
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from cryptography import x509

from failwell.core import kinds
from failwell.core.errors import Corrupt, FailwellError, InputError, Refused
from failwell.core.instants import parse_at
from failwell.core.records import Draft, Entry, decode_entry
from failwell.identity import agents, keys, svids
from failwell.identity import issuer as issuers
from failwell.identity.door_key import ROLE
from failwell.identity.issuer import Issuer
from failwell.ledger.book import Book
from failwell.ledger.jobs import Job, Plan, Turn
from failwell.node import foreign
from failwell.node.certifying import KEY_GONE, issuer_draft, make_out
from failwell.node.identities import NEVER_US, Held, Known, told
from failwell.node.passed import Passed
from failwell.node.requests import Certify, Hello, Secure, Turned
from failwell.node.trust import Trust

if TYPE_CHECKING:
    from failwell.node.door import Connection
    from failwell.node.service import Node


class Proving:
    """Judges the proofs of one node's callers, and makes certificates out to those who hold."""

    def __init__(self, node: Node, book: Book) -> None:
        """Raises InputError where the issuer's key is there and others could use it."""
        self._node = node
        self._losses: dict[str, int] = {}
        self._shown = foreign.Shown()
        self._started_us = foreign.start_us(node.clock.wall_us())
        self._making = asyncio.Lock()
        self.passed = Passed(node, self)
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
            self.passed.lost("agent", entry.agent)
        elif isinstance(entry.body, kinds.PersonLeft):
            self.passed.lost("person", entry.body.person)

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

    def answer(self, connection: Connection, request: Hello | Turned | Secure | Certify) -> Awaitable[Any]:
        """What concerns who is at the door."""
        if isinstance(request, Hello):
            return self.hello(connection, request)
        if isinstance(request, Turned):
            return self.passed.turned(connection, request)
        if isinstance(request, Secure):
            return self.passed.secure(connection, request)
        return self.certify(connection, request)

    async def hello(self, connection: Connection, request: Hello) -> dict[str, Any]:
        """Take up a proof of identity. Whoever fails is counted, not recorded one by one (D26)."""
        try:
            if request.role == ROLE or request.shown is not None:
                return await self.passed.hello(connection, request)
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
            raw(request.proof),
        ):  # fmt: skip
            raise Refused(f"the proof for {request.role} {request.name} does not hold")
        connection.host = request.name
        return {"proved": request.name}

    async def _agent(self, connection: Connection, request: Hello) -> dict[str, Any]:
        known: Known | None = None
        if request.role == "agent":
            known = await self.known(request.name)
        if known is None or (request.certificate is not None and request.token is not None):
            raise Refused(f"the proof for {request.role} {request.name} does not hold")
        trust = self._node.settings.trust
        if request.certificate is not None:
            held = await self._certificate(connection, request, known)
        elif request.token is not None:
            held = await self._token(request, known)
        else:
            held = self._key(connection, request, known)
        self.take_up(connection, known, held, trust)
        self._node.note_peer(known.agent, connection.peer_pid)
        return told(known, held)

    def take_up(self, connection: Connection, known: Known, held: Held, trust: dict[str, Trust]) -> None:
        """The connection is taken for the agent from now on. `trust` is whom the proof was judged by."""
        node = self._node
        if held.way in ("svid", "token"):
            # Attack: an authority that was given up, because it was broken into, lives on in what it had opened.
            held = held._replace(stands=lambda: node.settings.trust == trust)
        connection.agents.add(known.agent, held)
        # INVARIANT: a key that was revoked since it was looked at proves nothing. The writer's thread counts first and
        # takes away then, so that either it takes this identity, or this sees the count.
        if self._losses.get(known.agent, 0) != known.losses:
            connection.agents.lose(known.agent)
            raise Refused(KEY_GONE)

    async def known(self, name: str) -> Known | None:
        """An agent by its name or its certificate's, None where there is none or its key was revoked."""
        return await self._node.writer.submit_async(self._known(name))

    def _known(self, name: str) -> Job[Known | None]:
        ours = f"spiffe://{issuers.trust_domain(self._node.origin)}/agent/"

        def job(turn: Turn) -> Plan[Known | None]:
            agent = turn.state.agent_named(name) or turn.state.agent_named(name.removeprefix(ours))
            row = None if agent is None else turn.state.agent[agent]
            issuer = turn.state.workspace[1].issuer
            known = None
            if agent is not None and row is not None and row.key is not None:
                losses = self._losses.get(agent, 0)
                known = Known(agent, row, row.key, None if issuer is None else issuer[1], turn.now_us, losses)
            return Plan((), lambda _: known)

        return job

    def _key(self, connection: Connection, request: Hello, known: Known) -> Held:
        if not agents.check_proof(
            base64.b64decode(known.key), self._node.origin, "agent", request.name, connection.challenge,
            self._node.name, raw(request.proof),
        ):  # fmt: skip
            raise Refused(f"the proof for agent {request.name} does not hold")
        return Held("key", NEVER_US, NEVER_US)

    # -- certificates ------------------------------------------------------------------------------------------

    async def _certificate(self, connection: Connection, request: Hello, known: Known) -> Held:
        """Attack: a certificate seen on its way, without its key."""
        leaf, held = await self.judged(known, request.certificate or "")
        signed = agents.hello_bytes(
            self._node.origin, "agent", request.name, connection.challenge, self._node.name
        )  # fmt: skip
        if not svids.check_signature(leaf, signed, raw(request.proof)):
            raise Refused("the proof was not made with the certificate's key")
        return held

    async def judged(self, known: Known, certificate: str) -> tuple[x509.Certificate, Held]:
        """The agent's certificate of a chain that may stand for it; who showed it has still to prove its key.

        Attack: a certificate of another authority, name, time or purpose.
        """
        chain = svids.parse_chain(certificate)
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
        return leaf, self.until(way, min(issuers.micros(each.not_valid_after_utc) for each in chain), known)

    def _issued_here(self, known: Known, chain: tuple[Any, ...]) -> bool:
        """Whether the authority in force issued it, which must be in force itself."""
        if self._authority is None or known.issuer is None or self._void is not None:
            return False
        authority = svids.parse_chain(base64.b64encode(self._authority).decode())[0]
        if not svids.issued_by(chain[0], authority):
            return False
        svids.check_path(chain[:1], (authority,), issuers.instant(known.now_us))
        return True

    async def _foreign(self, known: Known, chain: tuple[Any, ...], wanted: str) -> None:
        node = self._node
        refused: FailwellError = Refused("the certificate does not chain to the authority of this workspace")
        for trusted in foreign.svid_trusts(node.settings.trust, wanted):
            try:
                await foreign.check_svid(trusted, chain, issuers.instant(known.now_us), node.workspace.path)
            except FailwellError as error:
                refused = error
                continue
            if issuers.micros(chain[0].not_valid_before_utc) < self.rekeyed_us(known):
                raise Refused("the certificate is older than the agent's key", hint="Have it issued again.")
            return
        raise refused

    def rekeyed_us(self, known: Known) -> int:
        """When the agent's key was replaced last, 0 where it is the one it was registered with.

        Attack: a foreign proof that was stolen with the old key, after the agent got a new one.
        """
        keyed = known.row.keyed
        stored = None if keyed is None or keyed == known.row.registered + 1 else self._node.storage.entry(keyed)
        return 0 if stored is None else parse_at(decode_entry(stored.data).at)

    async def _token(self, request: Hello, known: Known) -> Held:
        node = self._node
        now_us = max(known.now_us, node.clock.wall_us())
        claims, marks = await foreign.check_token(
            node.settings.trust, (known.agent, known.row.name), request.token or "", node.workspace.path,
            now_us=now_us, since_us=max(self._started_us, self.rekeyed_us(known)),
        )  # fmt: skip
        self._shown.take(marks, claims.expires_us, now_us)
        return self.until("token", claims.expires_us, known)

    def until(self, way: str, until_us: int, known: Known) -> Held:
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
        issuer = await self.issuer()
        job = make_out(agent, public, issuer, minutes, lambda: agent in connection.agents)
        answer: dict[str, Any] = await self._node.writer.submit_async(job)
        return answer

    async def issuer(self) -> Issuer:
        """The authority in force, made and put on record where there is none."""
        async with self._making:
            if self._issuer is None:
                made = await asyncio.to_thread(self._make)
                draft = issuer_draft(made, "the first certificate was asked for")
                await self._node.writer.submit_async(lambda turn: Plan((draft,), lambda _: None))
                self._issuer = made
            return self._issuer

    def _make(self) -> Issuer:
        node = self._node
        serial = secrets.token_bytes(issuers.SERIAL_BYTES)
        return issuers.make_issuer(node.workspace.keys, node.origin, node.clock.wall_us(), serial)


def _recorded_certificate(book: Book, seq: int) -> bytes:
    stored = book.storage.entry(seq)
    body = None if stored is None else decode_entry(stored.data).body
    if not isinstance(body, kinds.IdentityIssuer):
        raise Corrupt(f"entry {seq} is not the issuer that the record names", hint="failwell ledger verify")
    return base64.b64decode(body.certificate)


def raw(text: str) -> bytes:
    """Base64, empty where it is none: a proof that does not hold."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
