"""Agents and hosts: a key made at registration, and the challenge that each connection answers with it.

The private key lies in the configuration directory of whoever runs the agent, never in the workspace or the
ledger. A connection proves itself by signing `b"failwell/hello/1\\n"` followed by the canonical JSON (RFC
8785) of `{challenge, name, node, origin, role}`: the node's fresh challenge, and the node and ledger that
the caller believes to be talking to, so that a proof given to one node is worth nothing at another.

Standard library and `cryptography` only: the client carries it into the agent's process. It does not know
who is registered, and it proves which key speaks, not that nobody else has the key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from failwell.core import canonical
from failwell.core.errors import InputError
from failwell.identity import keys, names

CHALLENGE_BYTES: Final = 32
ROLES: Final = ("agent", "host", "person", "door")
_HELLO_PREFIX: Final = b"failwell/hello/1\n"


def create_agent_key(config: Path, origin: str, agent: str) -> keys.SigningKey:
    """Make an agent's key at `agents/ORIGIN/NAME.key`; raises InputError where one is, or for no name."""
    return _create(names.agent_key_path(config, origin, agent))


def load_agent_key(config: Path, origin: str, agent: str) -> keys.SigningKey:
    """An agent's key; raises NotFound, and InputError (code "key-permissions") where others could use it."""
    return keys.load_key(names.agent_key_path(config, origin, agent))


def create_host_key(config: Path, origin: str, host: str) -> keys.SigningKey:
    """Make a host's key at `hosts/ORIGIN/NAME.key`; raises InputError where one is, or for no name."""
    return _create(names.host_key_path(config, origin, host))


def load_host_key(config: Path, origin: str, host: str) -> keys.SigningKey:
    """A host's key; raises NotFound, and InputError (code "key-permissions") where others could use it."""
    return keys.load_key(names.host_key_path(config, origin, host))


def challenge(random: bytes) -> bytes:
    """A connection's challenge from 32 fresh random bytes; InputError for another length or all zeros."""
    if len(random) != CHALLENGE_BYTES or not any(random):
        raise InputError(f"a challenge takes {CHALLENGE_BYTES} random bytes")
    return random


def prove(key: keys.SigningKey, origin: str, role: str, name: str, challenge: bytes, channel: str) -> bytes:
    """Answer a challenge: the 64 byte signature by which `name` proves to hold `key` on this connection.

    `role` is agent, host, person or door; `channel` names the node. Raises InputError for a malformed part.
    """
    return key.sign(hello_bytes(origin, role, name, challenge, channel))


def check_proof(public: bytes, origin: str, role: str, name: str, challenge: bytes, channel: str, proof: bytes) -> bool:
    """Whether `proof` answers this connection's own challenge with the key registered for this role and name.

    Malformed parts are False, never an error that a caller might take for something else.
    """
    try:
        message = hello_bytes(origin, role, name, challenge, channel)
    except InputError:
        return False
    return keys.verify(public, message, proof)


def _create(path: Path) -> keys.SigningKey:
    key = keys.generate()
    keys.save_key(path, key)
    return key


def hello_bytes(origin: str, role: str, name: str, challenge: bytes, channel: str) -> bytes:
    """What a proof signs; InputError for a malformed part."""
    if role not in ROLES:
        raise InputError(f"there is no role {role!r}")
    if len(challenge) != CHALLENGE_BYTES:
        raise InputError(f"a challenge has {CHALLENGE_BYTES} bytes, not {len(challenge)}")
    if role == "agent":
        names.parse_agent(name)
    else:
        names.check_name(name, role)
    body = {"challenge": challenge.hex(), "name": name, "node": channel, "origin": origin, "role": role}
    return _HELLO_PREFIX + canonical.encode(body)
