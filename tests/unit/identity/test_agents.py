"""Agents and hosts: where their keys lie, and what an answered challenge proves."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from failwell.core import canonical
from failwell.core.errors import InputError, NotFound
from failwell.identity import agents, keys, names

ORIGIN = "failwell/5d41402abc4b2a76"
SPIFFE = "spiffe://shop.example/agent/refund-bot"
CHALLENGE = bytes(range(32))
KEY = keys.from_seed(b"k" * 32)


def test_an_agents_key_lies_in_the_configuration_directory_0600(tmp_path: Path) -> None:
    made = agents.create_agent_key(tmp_path, ORIGIN, SPIFFE)
    path = tmp_path / "agents" / names.origin_short(ORIGIN) / "refund-bot.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert agents.load_agent_key(tmp_path, ORIGIN, "refund-bot").public == made.public
    with pytest.raises(InputError, match="never overwritten"):
        agents.create_agent_key(tmp_path, ORIGIN, "refund-bot")


def test_an_agent_and_a_host_of_one_name_have_two_keys(tmp_path: Path) -> None:
    agent = agents.create_agent_key(tmp_path, ORIGIN, "shop")
    host = agents.create_host_key(tmp_path, ORIGIN, "shop")
    assert agent.public != host.public
    assert agents.load_host_key(tmp_path, ORIGIN, "shop").public == host.public


def test_two_ledgers_have_two_keys_for_one_name(tmp_path: Path) -> None:
    agents.create_agent_key(tmp_path, ORIGIN, "refund-bot")
    with pytest.raises(NotFound):
        agents.load_agent_key(tmp_path, "failwell/other", "refund-bot")


@pytest.mark.requirement("R3.2")
def test_a_proof_answers_its_own_challenge_only() -> None:
    proof = agents.prove(KEY, ORIGIN, "agent", SPIFFE, CHALLENGE, "node-1")
    assert agents.check_proof(KEY.public, ORIGIN, "agent", SPIFFE, CHALLENGE, "node-1", proof)


@pytest.mark.parametrize(
    "parts",
    [
        ("failwell/other", "agent", SPIFFE, CHALLENGE, "node-1"),
        (ORIGIN, "host", "refund-bot", CHALLENGE, "node-1"),
        (ORIGIN, "agent", "refund-bot", CHALLENGE, "node-1"),
        (ORIGIN, "agent", SPIFFE, bytes(32), "node-1"),
        (ORIGIN, "agent", SPIFFE, CHALLENGE[:-1], "node-1"),
        (ORIGIN, "agent", SPIFFE, CHALLENGE, "node-2"),
        (ORIGIN, "root", SPIFFE, CHALLENGE, "node-1"),
        (ORIGIN, "agent", "spiffe://shop.example/agent/refund-bоt", CHALLENGE, "node-1"),  # noqa: RUF001
        (ORIGIN, "agent", "../refund-bot", CHALLENGE, "node-1"),
    ],
)
@pytest.mark.requirement("R3.2")
def test_a_proof_replayed_to_another_ledger_role_name_connection_or_node_fails(
    parts: tuple[str, str, str, bytes, str],
) -> None:
    proof = agents.prove(KEY, ORIGIN, "agent", SPIFFE, CHALLENGE, "node-1")
    assert not agents.check_proof(KEY.public, *parts, proof)


@pytest.mark.requirement("R3.1")
def test_a_proof_by_another_key_fails() -> None:
    other = keys.from_seed(b"o" * 32)
    proof = agents.prove(other, ORIGIN, "agent", SPIFFE, CHALLENGE, "node-1")
    assert not agents.check_proof(KEY.public, ORIGIN, "agent", SPIFFE, CHALLENGE, "node-1", proof)
    for bad in (b"", b"x" * 64, proof[:-1]):
        assert not agents.check_proof(KEY.public, ORIGIN, "agent", SPIFFE, CHALLENGE, "node-1", bad)


def test_what_is_signed_is_canonical_and_has_its_own_prefix() -> None:
    body = {
        "challenge": CHALLENGE.hex(),
        "name": SPIFFE,
        "node": "node-1",
        "origin": ORIGIN,
        "role": "agent",
    }
    message = b"failwell/hello/1\n" + canonical.encode(body)
    assert agents.prove(KEY, ORIGIN, "agent", SPIFFE, CHALLENGE, "node-1") == KEY.sign(message)


@pytest.mark.parametrize("random", [b"", bytes(31), bytes(33), bytes(32)])
def test_a_challenge_that_is_not_32_random_bytes_is_refused(random: bytes) -> None:
    with pytest.raises(InputError, match="32 random bytes"):
        agents.challenge(random)
    assert agents.challenge(CHALLENGE) == CHALLENGE


def test_proving_needs_the_standard_library_and_cryptography_only() -> None:
    code = (
        "import sys\n"
        "for name in ('msgspec', 'apsw', 'cedarpy', 'typer', 'rich', 'ruamel'):\n"
        "    sys.modules[name] = None\n"
        "import failwell.identity.agents\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
