"""Callers elsewhere, whom a door passes on: the node judges what they showed by the keys and certificates on record.

A door proves itself with the key in `keys/` and is believed three things: that it saw this signed request, that its
caller proved over TLS to hold this certificate, that it was sent this token. The node verifies the rest, and answers
with the key that the door verifies the next requests with. A connection stands for one caller, and every request on it
is refused once that caller is none any more. Which requests were shown before the door remembers (`web.callers`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
from typing import TYPE_CHECKING, Any

from failwell.core.errors import InputError, NotFound, Refused
from failwell.identity import agents, door_key, http_signatures, issuer, own_tokens, svids
from failwell.identity.http_signatures import Signed
from failwell.node import foreign
from failwell.node.identities import NEVER_US, Held, Known, told
from failwell.node.requests import AnyRequest, Hello, Secure, Turned

if TYPE_CHECKING:
    from failwell.node.door import Connection
    from failwell.node.proving import Proving
    from failwell.node.service import Node

#: How old a signed request may be that a door passes on: its own window, and the time that it takes here.
WINDOW_S = 75
#: How long a server's certificate holds; a door asks for another one when half of it is over.
SERVER_DAYS = 30
#: Reasons of one message of a door, and how long they are.
MAX_REASONS, MAX_REASON = 20, 100


class Passed:
    """Judges what the doors of one node pass on."""

    def __init__(self, node: Node, proving: Proving) -> None:
        self._node = node
        self._proving = proving

    async def hello(self, connection: Connection, request: Hello) -> dict[str, Any]:
        """A door proves itself, or passes on a caller. Raises what is counted (`Proving.hello`)."""
        if request.role == door_key.ROLE:
            return await self._door(connection, request)
        if connection.door is None:
            raise Refused("only a door passes on what it was shown")
        match request.role, request.shown:
            case "agent", "signature":
                answer = await self._signed_agent(connection, request)
            case "host" | "person", "signature":
                answer = await self._signed_other(connection, request)
            case "agent", "tls":
                known = await self._known(request)
                _, held = await self._proving.judged(known, request.certificate or "")
                answer = self._agent(connection, known, held)
            case "agent", "token":
                answer = await self._token(connection, request)
            case _:
                raise Refused(f"a {request.role} is not known by what was shown")
        return answer

    async def _door(self, connection: Connection, request: Hello) -> dict[str, Any]:
        node = self._node
        try:
            key = await asyncio.to_thread(door_key.load_key, node.workspace.keys)
        except NotFound as error:
            raise Refused("this workspace has no door") from error
        proof = _proof(request)
        if not agents.check_proof(
            key.public, node.origin, door_key.ROLE, request.name, connection.challenge, node.name, proof
        ):  # fmt: skip
            raise Refused("the proof for the door does not hold")
        # Attack: a connection that is somebody already, and would hand that on to the next caller.
        if connection.agents or connection.host is not None:
            raise Refused("this connection has proved somebody already: a door proves itself first")
        connection.door = request.name
        return {"proved": request.name}

    # -- what was shown ----------------------------------------------------------------------------------------

    def _signed(self, request: Hello) -> Signed:
        signed = http_signatures.read_base((request.base or "").encode(), _proof(request))
        if (signed.role, signed.name) != (request.role, request.name):
            raise Refused("the request was signed by somebody else")
        if abs(self._node.clock.wall_us() // 1_000_000 - signed.created) > WINDOW_S:
            raise Refused("the request was signed at another time")
        return signed

    async def _signed_agent(self, connection: Connection, request: Hello) -> dict[str, Any]:
        signed = self._signed(request)
        known = await self._known(request)
        if signed.certificate is None:
            key, held = known.key, Held("key", NEVER_US, NEVER_US)
        else:
            chain = base64.b64encode(signed.certificate).decode()
            leaf, held = await self._proving.judged(known, chain)
            own = svids.raw_key(leaf)
            if own is None:
                raise Refused("requests are signed with Ed25519 keys", hint="Show the certificate over TLS instead.")
            key = own
        if not signed.holds(base64.b64decode(key)):
            raise _unheld(request)
        return {**self._agent(connection, known, held), "key": key}

    async def _signed_other(self, connection: Connection, request: Hello) -> dict[str, Any]:
        signed, name, role = self._signed(request), request.name, request.role
        if signed.certificate is not None:
            raise Refused(f"a {role} signs with its key")
        if role == "host":
            host = await self._node.questions.look(lambda state: state.host.get(name))
            key = None if host is None else host.key
        else:
            person = await self._node.questions.look(lambda state: state.person.get(name))
            key = None if person is None or person.left is not None else person.key
        if key is None or not signed.holds(base64.b64decode(key)):
            raise _unheld(request)
        self._stand_for(connection, role, name)
        if role == "host":
            connection.host = name
        return {"proved": name, "way": "key", "until": None, "key": key}

    async def _token(self, connection: Connection, request: Hello) -> dict[str, Any]:
        token = own_tokens.read_token(request.token or "")
        known = await self._known(request)
        now_us = max(known.now_us, self._node.clock.wall_us())
        until_us = token.check(
            base64.b64decode(known.key), known.agent, self._node.origin, now_us=now_us,
            since_us=self._proving.rekeyed_us(known),
        )  # fmt: skip
        return self._agent(connection, known, self._proving.until("own token", until_us, known))

    # -- whom the connection stands for ------------------------------------------------------------------------

    async def _known(self, request: Hello) -> Known:
        known = await self._proving.known(request.name)
        if known is None:
            raise _unheld(request)
        return known

    def _agent(self, connection: Connection, known: Known, held: Held) -> dict[str, Any]:
        stood = connection.stands_for
        self._stand_for(connection, "agent", known.agent)
        try:
            self._proving.take_up(connection, known, held, self._node.settings.trust)
        except Refused:
            connection.stands_for = stood  # its door passes on the next caller over it
            raise
        return told(known, held)

    @staticmethod
    def _stand_for(connection: Connection, role: str, name: str) -> None:
        """Attack: one caller's connection that becomes another's too."""
        if connection.stands_for not in (None, (role, name)):
            raise Refused("this connection stands for another caller")
        connection.stands_for = (role, name)

    def check(self, connection: Connection, request: AnyRequest) -> None:
        """Raises Refused where the caller that a door's connection stands for is none any more.

        Attack: a revoked agent goes on reading what anybody on this machine may ask, over a connection that was its.
        """
        if connection.stands_for is None or isinstance(request, Hello):
            return
        role, name = connection.stands_for
        gone = role == "agent" and name not in connection.agents
        if role == "person":
            gone = self._node.writer.book.state.person[name].left is not None
        if gone:
            raise Refused(f"the {role} {name} is not proved any more", code="unauthenticated", hint="Prove it anew.")

    def lost(self, role: str, name: str) -> None:
        """Tell the doors that a caller of theirs is none any more (the writer's thread, before it is durable)."""
        for connection in tuple(self._node.connections):
            if connection.stands_for == (role, name):
                with contextlib.suppress(RuntimeError):  # the loop has ended, and its callers with it
                    self._node.loop.call_soon_threadsafe(connection.push, {"push": "lost"})

    def doubted(self) -> None:
        """Tell the doors that others may be trusted now (the writer's thread): whom they know is judged anew.

        Attack: a certificate of an authority that was given up, taken before, for an agent who goes on by its own key.
        """
        for connection in tuple(self._node.connections):
            if connection.door is not None:
                with contextlib.suppress(RuntimeError):
                    self._node.loop.call_soon_threadsafe(connection.push, {"push": "doubted"})

    async def turned(self, connection: Connection, request: Turned) -> None:
        """Count whom a door turned away (D26)."""
        if connection.door is None:
            raise Refused("only a door turns callers away", code="unauthenticated")
        for reason, count in request.counts[:MAX_REASONS]:
            self._node.refusals.count(f"door:{connection.door}", reason[:MAX_REASON], max(count, 0))

    async def secure(self, connection: Connection, request: Secure) -> dict[str, Any]:
        """What a door needs for TLS: whom its callers' certificates may be from, and its own certificate, if asked.

        It is made out to the names that the operator gave the door, and stands for no agent.
        """
        if connection.door is None:
            raise Refused("only a door is given a server's certificate", code="unauthenticated")
        node = self._node
        authority = await self._proving.issuer()
        made = None
        if request.key is not None:
            try:
                public = base64.b64decode(request.key, validate=True)
            except ValueError as error:
                raise InputError("the key is 32 bytes in base64") from error
            serial = secrets.token_bytes(issuer.SERIAL_BYTES)
            made = authority.issue_server(request.hosts, public, serial, node.clock.wall_us(), SERVER_DAYS)
        trusted = await foreign.read_bundles(node.settings.trust, node.workspace.path)
        return {
            "authority": issuer.pem(authority.certificate), "trusted": trusted,
            "certificate": None if made is None else issuer.pem(made),
        }  # fmt: skip


def _proof(request: Hello) -> bytes:
    try:
        return base64.b64decode(request.proof, validate=True)
    except ValueError:
        return b""


def _unheld(request: Hello) -> Refused:
    return Refused(f"the proof for {request.role} {request.name} does not hold")
