"""TLS of the HTTP door: its certificate, an operator's or one of the workspace's own authority, and whose its callers'
may be.

A caller that shows a certificate proves to hold its key; one that shows none is asked to sign. Chains are checked here
only so far as OpenSSL does, against the workspace's authority and the trusted domains: whether a certificate stands for
an agent is the node's to judge. What is trusted, and the door's own certificate, are renewed while it runs.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import os
import ssl
import tempfile
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from failwell.core.errors import FailwellError, InputError
from failwell.identity import keys
from failwell.identity.credential import credential_text
from failwell.node.reached import HttpSettings, parse_listen
from failwell.node.workspace import Workspace
from failwell.web.links import Links

#: The workspace's authority, for callers to trust: public, in the workspace.
AUTHORITY_FILE: Final = "authority.pem"
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
#: How often it is asked who is trusted; a certificate is renewed when it holds no longer than so.
LOOK_S: Final = 30.0
RENEW_S: Final = 15 * 86_400


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server's context that takes callers' certificates and asks for none. InputError for files that hold no pair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Attack: a session that is taken up again brings along a certificate that nobody proves anew. TLS 1.2 does that
    # without a ticket too, out of a memory that cannot be turned off from here.
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    try:
        keys.read_kept(key, keys.MAX_KEY_FILE_BYTES)
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"[http]: {certificate} and {key} are no certificate with its key: {error}") from error
    return context


def hosts_of(http: HttpSettings) -> tuple[str, ...]:
    """The names that a door's own certificate is made out for."""
    address, _ = parse_listen(http.listen, allow_remote=http.allow_remote)
    listened = () if ipaddress.ip_address(address).is_unspecified else (address,)
    named = (urlsplit(each).hostname for each in http.addresses)
    return tuple(dict.fromkeys([*LOOPBACK, *listened, *(each for each in named if each)]))


class Secured:
    """A door's context, kept up while it runs."""

    def __init__(self, workspace: Workspace, http: HttpSettings, context: ssl.SSLContext, links: Links) -> None:
        """Use `open`."""
        self.context = context
        self._workspace = workspace
        self._http = http
        self._links = links
        self._trusted = ""

    @classmethod
    async def open(cls, workspace: Workspace, http: HttpSettings) -> Secured | None:
        """What the settings ask for, None for a door without TLS. InputError, Unreachable."""
        links = Links(workspace.socket, workspace.keys)
        if http.certificate is not None and http.key is not None:
            context = server_context(workspace.path / http.certificate, workspace.path / http.key)
        elif http.tls:
            context = await _own(http, links)
        else:
            return None
        made = cls(workspace, http, context, links)
        await made.look()
        return made

    async def look(self) -> None:
        """Take up who is trusted now: further authorities from here on; what is given up the node refuses."""
        told = await _asked(self._links)
        trusted = "".join((told["authority"], *told["trusted"]))
        if trusted == self._trusted:
            return
        self.context.load_verify_locations(cadata=trusted)
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self._trusted = trusted
        await asyncio.to_thread(_publish, self._workspace.path / AUTHORITY_FILE, told["authority"])

    async def keep(self) -> None:
        """Look now and then, until cancelled."""
        renewed_s = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(LOOK_S)
            with contextlib.suppress(FailwellError, OSError, ssl.SSLError):  # tried again: what is there holds
                await self.look()
                if self._http.tls and asyncio.get_running_loop().time() - renewed_s > RENEW_S:
                    await _own(self._http, self._links, self.context)
                    renewed_s = asyncio.get_running_loop().time()

    async def close(self) -> None:
        await self._links.close()


async def _own(http: HttpSettings, links: Links, context: ssl.SSLContext | None = None) -> ssl.SSLContext:
    """A context with a certificate over a fresh key; or that one takes it for its connections from now on."""
    # OpenSSL takes a key from a file: one in a directory of our own, gone at once.
    with tempfile.TemporaryDirectory(prefix="failwell-tls-") as directory:
        path = Path(directory) / "server.pem"
        key = keys.generate()
        told = await _asked(links, hosts=hosts_of(http), key=base64.b64encode(key.public).decode())
        await asyncio.to_thread(keys.write_private, path, credential_text(key, told["certificate"], told["authority"]))
        if context is None:
            return server_context(path, path)
        context.load_cert_chain(path)
        return context


async def _asked(links: Links, **fields: Any) -> dict[str, Any]:
    link = await links.fresh()
    try:
        told: dict[str, Any] = await link.call("secure", timeout_s=20, **fields)
    finally:
        await links.give_back(link)
    return told


def _publish(path: Path, text: str) -> None:
    """The authority's certificate, whole or as it was."""
    with contextlib.suppress(OSError):
        if path.read_text() == text:
            return
    part = path.with_suffix(".part")
    part.write_text(text)
    part.chmod(0o644)
    os.replace(part, path)
