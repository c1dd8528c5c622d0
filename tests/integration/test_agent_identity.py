"""How an agent gets and renews what it proves itself with, and how people take it away: by command and by client."""

from __future__ import annotations

import base64
import datetime
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from failwell.core.errors import InputError, NotFound, Refused
from failwell.identity import issuer, keys, names
from failwell.identity.credential import credential_text, load_credential
from failwell.identity.persons import PersonKey, prove_enrolment
from failwell.node.workspace import lock_holder
from tests.simulate.fixtures import model, stage
from tests.simulate.house import SPIFFE, House, await_true
from tests.unit.identity.authority import Authority, now, other_keys, pem, secret
from tests.unit.identity.tokens import AUDIENCE, ISSUER, Provider

__all__ = ["stage"]

PASSPHRASE = "correct horse battery staple"
BOT = f"{SPIFFE}refund-bot"
MESH, PROVIDER = Authority("spiffe://shop.example"), Provider()
TRUST = f"""
[trust.mesh]
kind = "x509-svid"
trust_domain = "shop.example"
bundle = "mesh.pem"
[trust.login]
kind = "oidc"
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
jwks = "login.json"
agents = {{ "repo:shop/bots:ref" = "refund-bot" }}
"""


@pytest.fixture(scope="module")
def house(stage: Path) -> Iterator[House]:
    made = model().copy(stage / "identity")
    (made.root / "passphrase").write_text(PASSPHRASE + "\n")
    (made.root / "passphrase").chmod(0o600)
    made.node()
    yield made
    made.hang_up()
    made.tear_down()


def command(house: House, *arguments: str, code: int = 0) -> dict[str, Any]:
    """One command of the real command line, as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "failwell", *arguments, "--json"], capture_output=True, text=True, timeout=60,
        check=False,
        env={**os.environ, "FAILWELL_CONFIG": str(house.config), "FAILWELL_WORKSPACE": str(house.workspace.path),
             "FAILWELL_PASSPHRASE_FILE": str(house.root / "passphrase")},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def file_of(house: House) -> Path:
    return names.agent_credential_path(house.config, house.workspace.origin(), BOT)


def certificates(house: House) -> int:
    return len(house.entries("agent.certificate", "refund-bot"))


def test_a_certificate_is_made_out_and_used_and_renewed_by_itself(house: House) -> None:
    told = command(house, "agent", "certify", "refund-bot")
    path = file_of(house)
    assert told["file"] == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    held = load_credential(path)
    assert "PRIVATE" not in repr(held)
    with house.gate() as gate:
        assert gate.prove("agent", "refund-bot") == BOT
    assert certificates(house) == 1  # nothing to renew yet
    aged(house, path, told, since_minutes=50)
    with house.gate() as gate, gate.run("refund-bot") as run:
        assert run.decide("note.write", customer="c1", millis=0).verdict == "ALLOW"
    assert certificates(house) == 2
    assert load_credential(path).half_us > time.time_ns() // 1000
    shown = command(house, "agent", "show", "refund-bot")["identity"]
    assert (shown["revoked"], len(shown["certificates"])) == (False, 2)


def aged(house: House, path: Path, told: dict[str, Any], since_minutes: int, until_minutes: int = 10) -> None:
    """Put a certificate of another time, and else the same, in the place of the one in `path`."""
    held = load_credential(path)
    leaf = x509.load_pem_x509_certificates(held.chain.encode())[0]
    key = keys.load_key(house.workspace.keys / issuer.FILE_NAME)
    parent = x509.load_pem_x509_certificates(held.chain.encode())[1]
    minute = datetime.timedelta(minutes=1)
    made = Authority(key=key.private, certificate=parent).sign(
        leaf.public_key(), [BOT], serial=leaf.serial_number, since=now() - since_minutes * minute,
        until=now() + until_minutes * minute,
    )  # fmt: skip
    assert issuer.serial_text(made.serial_number) == told["serial"]
    private = keys.SigningKey(held.key)  # type: ignore[arg-type]
    keys.replace_private(path, credential_text(private, pem(made), pem(parent)))


def test_a_lapsed_certificate_gives_way_to_the_key_and_without_one_nothing_is_proved(house: House) -> None:
    told = command(house, "agent", "certify", "refund-bot")
    path = file_of(house)
    aged(house, path, told, since_minutes=60, until_minutes=-1)
    with house.gate() as gate:
        assert gate.prove("agent", BOT) == BOT
    key = names.agent_key_path(house.config, house.workspace.origin(), BOT)
    away = key.with_suffix(".away")
    key.rename(away)
    try:
        with house.gate() as gate, pytest.raises(Refused, match="lapsed"):
            gate.prove("agent", BOT)
        path.unlink()
        with house.gate() as gate, pytest.raises(NotFound):
            gate.prove("agent", BOT)
    finally:
        away.rename(key)


def test_a_certificate_file_is_written_once_and_read_only_when_it_is_private(house: House) -> None:
    out = house.root / "bot.pem"
    command(house, "agent", "certify", "refund-bot", "--out", str(out))
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert command(house, "agent", "certify", "refund-bot", "--out", str(out), code=2)["error"]["code"] == "input"
    os.chmod(out, 0o644)
    with pytest.raises(InputError, match="0600"):
        load_credential(out)


def test_what_other_authorities_say_is_presented_by_the_client(house: House) -> None:
    (house.workspace.path / "mesh.pem").write_text(pem(MESH.certificate))
    (house.workspace.path / "login.json").write_text(PROVIDER.jwks())
    with (house.workspace.path / "failwell.toml").open("a") as file:
        file.write(TRUST)
    from failwell.core import orders as o
    from failwell.node import settings, watch

    digest = watch.digest(settings.settings_text(settings.read_settings(house.workspace.path)))
    house.hand("anna").give("config.apply", o.ConfigApply(settings=digest, previous=house.ask("settings")["digest"]))
    private = keys.private_directory(house.root / "svid")
    for number, key in enumerate(other_keys()[:2]):
        chain, path = private / f"{number}.pem", private / f"{number}.key"
        chain.write_text(pem(MESH.sign(key.public_key(), [BOT])))
        keys.write_private(path, secret(key))
        with house.gate() as gate:
            assert gate.present("refund-bot", svid=chain, svid_key=path) == BOT
            with gate.run("refund-bot") as run:
                assert run.decide("note.write", customer="c1", millis=0).verdict == "ALLOW"
    at = int(time.time()) + 2
    with house.gate() as gate:
        token = PROVIDER.token(iat=at, exp=at + 300)
        assert gate.present("refund-bot", token=token) == BOT
        with gate.run("refund-bot") as run:
            assert run.decide("note.write", customer="c1", millis=0).verdict == "ALLOW"
        with pytest.raises(InputError, match="either"):
            gate.present("refund-bot")
        with pytest.raises(Refused, match="before"):
            gate.present("refund-bot", token=token)


def test_a_person_takes_the_key_away_and_an_operator_gives_another(house: House) -> None:
    dora = PersonKey.create(house.config, "dora", PASSPHRASE).unlock(PASSPHRASE)
    public = base64.b64encode(dora.key.public).decode()
    proof = prove_enrolment(dora, house.workspace.origin())
    house.hand("anna").enrol(dora, public, proof, ("operator",), None)
    gate = house.gate()
    with gate.run("refund-bot") as run:
        done = command(house, "agent", "revoke", "refund-bot", "--reason", "It lay in an image", "--as", "dora")
        assert done["confirmed"]
        with pytest.raises(Refused, match="has not proved"):
            run.decide("note.write", customer="c1", millis=0)
        run.id = None
    gate.close()
    command(house, "agent", "certify", "refund-bot", code=1)
    told = command(house, "agent", "rekey", "refund-bot", "--as", "dora", "--yes")
    path = names.agent_key_path(house.config, house.workspace.origin(), BOT)
    assert keys.load_key(path).key_id == told["key_id"]
    assert not list(path.parent.glob("*.next"))
    with house.gate() as again, again.run("refund-bot") as run:
        assert run.decide("note.write", customer="c2", millis=0).verdict == "ALLOW"
    house.hold_true()
    house.end(house.nodes[-1])  # nobody serves: the order is left, and a node that is started for it carries it out
    done = command(house, "agent", "revoke", "refund-bot", "--reason", "Again", "--as", "dora")
    assert done["confirmed"]
    shown = command(house, "agent", "show", "refund-bot")["identity"]
    assert (shown["revoked"], shown["key"], shown["certificates"]) == (True, None, [])
    holder = lock_holder(house.workspace)
    assert holder is not None
    os.kill(holder, signal.SIGTERM)
    await_true(lambda: lock_holder(house.workspace) is None)
    house.verify()
