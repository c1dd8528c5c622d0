"""A gate at a door elsewhere: `failwell.connect("https://...")` gives the same `Gate`, whose requests are signed.

Tools that the node's operator declared run there. A function that is registered here stays in this process, whatever it
is: no node elsewhere could import it. It is `cooperative`, as a closure is, and a contract that declares more for its
tool refuses it. Certificates of agents are used while they hold; they are renewed where the node is.
"""

from __future__ import annotations

import base64
import contextlib
import os
import time
from pathlib import Path
from typing import Any

from failwell.client import proofs
from failwell.client.gate import Gate
from failwell.client.http_lines import Lines, Signer
from failwell.client.http_wire import HttpWire
from failwell.client.stopped import Acting
from failwell.core.errors import InputError, NotFound, Refused
from failwell.identity import keys, names


def connect_remote(address: str, ca_file: str | os.PathLike[str] | None = None) -> Gate:
    """Connect to a door. `ca_file`: whom to trust (PEM), by default $FAILWELL_CA_FILE, else what the machine trusts."""
    wire = HttpWire(Lines(address, ca_file))
    return RemoteGate(wire, names.config_directory(os.environ, Path.home()))


class _Known(dict[int, Acting]):
    """What this process executes, by action: one that was to stop before it was entered here stops at once."""

    def __init__(self) -> None:
        super().__init__()
        self._early: set[int] = set()

    def early(self, action: int) -> None:
        self._early.add(action)

    def __setitem__(self, action: int, acting: Acting) -> None:
        super().__setitem__(action, acting)
        if action in self._early:
            self._early.discard(action)
            acting.ask_to_stop()


class RemoteGate(Gate):
    """See the module, and `Gate`."""

    def __init__(self, wire: HttpWire, config: Path) -> None:
        super().__init__(wire, config)
        self._remote = wire
        self.acting: _Known = _Known()

    def prove(self, role: str, name: str) -> str:
        """Sign as this agent or host from now on, with what lies in the configuration directory; its full name."""
        with self._proving:
            if name not in self._proved or self._proved[name].due:
                self._proved[name] = self._sign_as(role, name)
            return self._proved[name].full

    def _sign_as(self, role: str, name: str) -> proofs.Proof:
        if role == "agent":
            with contextlib.suppress(NotFound, InputError):
                signer, until_s = self._certified(name)
                full = self._remote.full_name(signer)
                self._remote.sign_as(full, signer)
                return proofs.Proof(full, until_s)
        signer = Signer(role, name, proofs.key_of(self._remote, self._config, role, name))
        full = name if role == "host" else self._remote.full_name(signer)
        self._remote.sign_as(full, signer)
        return proofs.Proof(full)

    def _certified(self, name: str) -> tuple[Signer, float]:
        """The agent's certificate and when it lapses; NotFound where none holds that could sign requests."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        from failwell.identity.credential import load_credential

        path = proofs.credential_path(self._remote, self._config, name)
        if path is None:
            raise NotFound("no certificate")
        held = load_credential(path)
        until_s = held.not_after_us / 1e6
        if until_s <= time.time() + 5 or not isinstance(held.key, Ed25519PrivateKey):
            raise NotFound("no certificate that holds")
        leaf = held.chain.partition("-----END CERTIFICATE-----")[0].rpartition("-----BEGIN CERTIFICATE-----")[2]
        return Signer("agent", name, keys.SigningKey(held.key), base64.b64decode("".join(leaf.split()))), until_s - 5

    def present(self, agent: str, **shown: Any) -> str:
        """Not over HTTP: put the certificate with its key into the configuration directory, where it is used."""
        raise Refused(
            "what another authority says is shown to a node here, not over HTTP",
            hint="Put the SVID and its Ed25519 key, in one PEM file, where the agent's certificate lies.",
        )

    def target(self, tool: str) -> dict[str, Any] | None:
        """None: the node elsewhere runs what its operator declared, and nothing of this process."""
        return None

    def _pushed(self, message: dict[str, Any]) -> None:
        if message["push"] == "interrupt" and int(message["action"]) not in self.acting:
            self.acting.early(int(message["action"]))
        super()._pushed(message)
