"""Which addresses of others this machine asks: its own, unless the operator allows another, and then only by TLS.

Shared by everything that asks over HTTP (sources of facts, the relay to a tool server). Resolves and reaches nothing.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

from failwell.core.errors import InputError

_PORTS = {"http": 80, "https": 443}


class Address(NamedTuple):
    """Where somebody listens."""

    secure: bool
    host: str
    port: int
    path: str


def parse_address(url: str, *, allow_remote: bool = False) -> Address:
    """The address that `url` spells; InputError for one that must not be asked."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InputError(f"{url!r} is not a URL: {error}") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise InputError(f"{url!r} is not an http or https URL with a host")
    if parts.username or parts.password or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        raise InputError("a URL here holds no user, password, fragment or blank", hint="Secrets go to a file.")
    secure = parts.scheme == "https"
    if not is_loopback(parts.hostname) and parts.hostname != "localhost":
        if not allow_remote:
            raise InputError(
                f"{parts.hostname} is not this machine", hint="allow_remote = true asks other machines, by https only."
            )
        if not secure:
            raise InputError(f"{parts.hostname} is another machine and is asked by https only")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(secure, parts.hostname, port or _PORTS[parts.scheme], path)


def is_loopback(host: str) -> bool:
    """Say whether `host` is an address, and no name, of this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
