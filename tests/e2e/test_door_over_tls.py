"""The HTTP door over TLS: its authority's certificate, agents' certificates as proof, and whoever shows another one."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import failwell
from failwell.client import powers, proofs
from failwell.core.errors import NotFound, Unreachable
from failwell.identity import keys, names
from failwell.identity.credential import credential_text
from failwell.web.tls import AUTHORITY_FILE
from tests.simulate.fixtures import model, stage
from tests.simulate.house import SETTINGS, House, apply
from tests.unit.identity.authority import Authority, pem

__all__ = ["stage"]


class Web:
    """A door's process on a house that has TLS of its own."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.process = subprocess.Popen(
            [sys.executable, "-m", "failwell.web", "--workspace", str(house.workspace.path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().decode().strip()
        if not self.address:
            self.process.wait(10)
            raise AssertionError((self.process.stderr.read() if self.process.stderr else b"").decode())

    @property
    def authority(self) -> Path:
        return self.house.workspace.path / AUTHORITY_FILE

    def get(self, path: str, held: Path | None = None, trust: Path | None = None) -> tuple[int, bytes]:
        """GET over TLS, with the certificate of a PEM file where one is given."""
        context = ssl.create_default_context(cafile=str(trust or self.authority))
        if held is not None:
            context.load_cert_chain(held)
        host, _, port = self.address.removeprefix("https://").rpartition(":")
        line = http.client.HTTPSConnection(host, int(port), context=context, timeout=10)
        try:
            line.request("GET", path)
            answer = line.getresponse()
            return answer.status, answer.read()
        finally:
            line.close()

    def end(self) -> None:
        self.process.communicate(timeout=15)


@pytest.fixture(scope="module")
def web(stage: Path) -> Iterator[Web]:
    made = model().copy(stage / "tls")
    made.node()
    apply(made, f'{SETTINGS}\n[http]\nlisten = "127.0.0.1:0"\ntls = true\n')
    door = Web(made)
    yield door
    door.end()
    made.hang_up()
    assert made.nodes[-1].stop() == 0
    made.verify()
    made.tear_down()


@pytest.fixture(scope="module")
def held(web: Web) -> Path:
    """An agent's certificate with its key."""
    caller, key = web.house.caller(), keys.generate()
    public = base64.b64encode(key.public).decode()
    told = caller.wire.call("certify", agent=caller.agent, key=public, timeout_s=10)
    path = web.house.root / "agent.pem"
    path.write_bytes(credential_text(key, told["certificate"], told["issuer"]))
    return path


def test_an_agents_certificate_says_who_asks_and_without_one_nobody_does(web: Web, held: Path) -> None:
    assert web.address.startswith("https://127.0.0.1:")
    status, body = web.get("/v1/agents", held)
    assert status == 200
    assert b"refund-bot" in body
    assert b"other-bot" not in body
    assert web.get("/v1/agents")[0] == 401
    assert web.get("/v1/health")[0] == 200


def test_the_door_is_trusted_by_its_authoritys_file_and_by_no_other(web: Web, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_text(pem(Authority().certificate))
    with pytest.raises(ssl.SSLError):
        web.get("/v1/health", trust=other)


def test_a_strangers_certificate_ends_the_handshake(web: Web, tmp_path: Path) -> None:
    key = keys.generate()
    made = Authority().sign(key.private.public_key(), ["spiffe://shop.example/agent/refund-bot"])
    path = tmp_path / "stranger.pem"
    path.write_bytes(credential_text(key, pem(made), ""))
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.BadStatusLine)):
        web.get("/v1/agents", path)


def test_no_session_is_taken_up_again_with_a_certificate_that_nobody_proves_anew(web: Web, held: Path) -> None:
    context = ssl.create_default_context(cafile=str(web.authority))
    context.load_cert_chain(held)
    host, _, port = web.address.removeprefix("https://").rpartition(":")
    session: ssl.SSLSession | None = None
    for _ in range(2):
        raw = socket.create_connection((host, int(port)), 10)
        with context.wrap_socket(raw, server_hostname=host, session=session) as line:
            line.sendall(f"GET /v1/health HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
            assert line.recv(12) == b"HTTP/1.1 200"
            assert not line.session_reused
            session = line.session
    # TLS 1.2 takes sessions up out of the server's memory.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection((host, int(port)), 10) as raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw, server_hostname=host)


def test_a_revoked_agents_certificate_proves_nobody_though_it_has_not_lapsed(web: Web) -> None:
    house = web.house
    caller, key = house.caller("bot-30"), keys.generate()
    public = base64.b64encode(key.public).decode()
    told = caller.wire.call("certify", agent=caller.agent, key=public, timeout_s=10)
    path = house.root / "revoked.pem"
    path.write_bytes(credential_text(key, told["certificate"], told["issuer"]))
    assert web.get("/v1/agents", path)[0] == 200
    revoked = powers.revoke(house.workspace, house.persons["anna"], caller.agent, "It leaked.")
    assert revoked.confirmed
    assert web.get("/v1/agents", path)[0] == 401


def test_many_callers_at_once_are_each_known_for_who_they_are(web: Web, held: Path) -> None:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(web.get("/v1/agents", held)[0])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 8


def test_the_client_trusts_the_authoritys_file_and_signs_with_the_certificate_that_lies_there(web: Web) -> None:
    house = web.house
    with house.gate() as gate:
        full = gate.prove("agent", "bot-31")
        path = names.agent_credential_path(house.config, house.workspace.origin(), full)
        proofs.certify(gate.wire, full, path, replace=True)
    names.agent_key_path(house.config, house.workspace.origin(), full).unlink()
    with failwell.connect(web.address, ca_file=web.authority) as gate, gate.run("bot-31") as run:
        assert run.decide("note.write", customer="c", millis=0).allowed
        with pytest.raises(NotFound):
            gate.prove("agent", "nobody")
    with pytest.raises(Unreachable) as untrusted:
        failwell.connect(web.address)
    assert "authority.pem" in str(untrusted.value.hint)
