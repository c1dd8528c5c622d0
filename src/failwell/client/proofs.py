"""How a client proves who it is: by the certificate that lies beside the agent's key, else by the key itself.

A certificate is renewed when half its time is over, over a fresh key, on the connection that it has just proved. One
that has lapsed or is refused is passed over: the key, where there is one, still says who the agent is.
"""

from __future__ import annotations

import base64
import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from failwell.client.wire import Greeted, Line, hello
from failwell.core.errors import FailwellError, InputError, NotFound, Refused
from failwell.identity import agents, keys, names

if TYPE_CHECKING:
    from failwell.identity.credential import Credential


#: A file as callers name it.
File = str | os.PathLike[str]


class Proof(NamedTuple):
    """Whom a connection was proved to be, and when to prove it anew (seconds since the epoch; None: it holds)."""

    full: str
    renew_at: float | None = None

    @property
    def due(self) -> bool:
        return self.renew_at is not None and time.time() >= self.renew_at


class Certified(NamedTuple):
    """A certificate that was made out: its file, and what the node said of it."""

    path: Path
    told: dict[str, Any]


def prove(wire: Line, config: Path, role: str, name: str) -> Proof:
    """Prove an identity on this connection with what lies in the configuration directory.

    Raises NotFound where nothing does, Refused where nothing of it holds.
    """
    path = None if role == "host" else credential_path(wire, config, name)
    if path is None:
        return Proof(hello(wire, role, name, key_of(wire, config, role, name)))
    try:
        return _by_certificate(wire, path, name)
    except (Refused, InputError):
        try:
            key = key_of(wire, config, role, name)
        except NotFound:
            key = None
        if key is None:
            raise
        return Proof(hello(wire, role, name, key))


def certify(wire: Line, agent: str, path: Path, *, replace: bool) -> Certified:
    """Have a certificate made out over a fresh key and put both into `path`, for an agent that was proved here."""
    from failwell.identity.credential import credential_text, write_new

    key = keys.generate()
    told = wire.call("certify", agent=agent, key=base64.b64encode(key.public).decode(), timeout_s=20)
    write = keys.replace_private if replace else write_new
    write(path, credential_text(key, told["certificate"], told["issuer"]))
    return Certified(path, told)


def present(
    wire: Line, name: str, *, token: str | None = None, svid: File | None = None, svid_key: File | None = None
) -> Proof:  # fmt: skip
    """Prove an agent by what another authority says: a token, or an X.509-SVID with its key (PEM).

    A token is taken once. Raises InputError unless one of the two is given.
    """
    if (token is None) == (svid is None):
        raise InputError("present either a token or an SVID")
    if token is not None:
        return Proof(str(wire.call("hello", role="agent", name=name, proof="", token=token, timeout_s=10)["proved"]))
    from failwell.identity.credential import load_credential

    assert svid is not None
    return Proof(_hello(wire, name, load_credential(Path(svid), None if svid_key is None else Path(svid_key))))


def _by_certificate(wire: Line, path: Path, name: str) -> Proof:
    from failwell.identity.credential import load_credential

    held = load_credential(path)
    now_us = time.time_ns() // 1000
    if now_us >= held.not_after_us:
        raise Refused("the certificate beside the agent's key has lapsed", hint="failwell agent certify")
    full = _hello(wire, name, held)
    if now_us >= held.half_us:
        # Not renewed: it still holds, and the next proof tries again.
        with contextlib.suppress(FailwellError, OSError):
            certify(wire, full, path, replace=True)
            held = load_credential(path)
            _hello(wire, name, held)
    return Proof(full, max(held.half_us / 1e6, time.time() + 30))


def _hello(wire: Line, name: str, held: Credential) -> str:
    greeting = wire.greeting
    proof = held.prove(greeting["origin"], name, bytes.fromhex(greeting["challenge"]), greeting["node"])
    encoded = base64.b64encode(proof).decode()
    answer = wire.call("hello", role="agent", name=name, proof=encoded, certificate=held.chain, timeout_s=10)
    return str(answer["proved"])


def credential_path(wire: Greeted, config: Path, name: str) -> Path | None:
    """The certificate's file of an agent, also one made before the record went on under another name."""
    paths = (names.agent_credential_path(config, origin, name) for origin in wire.greeting["origins"])
    return next((path for path in paths if path.exists()), None)


def key_of(wire: Greeted, config: Path, role: str, name: str) -> keys.SigningKey:
    """The key of an identity, also one that was made before the record was continued under another name."""
    load = agents.load_host_key if role == "host" else agents.load_agent_key
    origins = wire.greeting["origins"]
    for origin in origins[:-1]:
        with contextlib.suppress(NotFound):
            return load(config, origin, name)
    try:
        return load(config, origins[-1], name)
    except NotFound as error:
        raise NotFound(
            f"no key of the {role} {name} is here", hint=f"It should be {error.message.split()[-1]}. "
            "All that are registered: failwell agent list",
        ) from error  # fmt: skip
