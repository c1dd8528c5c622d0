"""To which name a request was sent, and which web page sent it: what keeps pages away from a door on loopback. Pure.

Attack: DNS rebinding. A page of evil.example has its own name resolve to 127.0.0.1 and then speaks to whatever listens
there, as the same origin, so that the browser keeps nothing from it. The name it was sent to (Host) and the page it
came from (Origin) still say so, and neither is ours. Programs send no Origin; who they are is `web.callers`' to find.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from failwell.core.errors import InputError

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_NAME = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::[1-9][0-9]{0,4})?", re.IGNORECASE
)
_DEFAULT_PORT = {"http": "80", "https": "443"}


class Names(NamedTuple):
    """The names, with ports, under which this door is asked; its pages would come from there too."""

    hosts: frozenset[str]

    @classmethod
    def of(cls, listening: str, also: Iterable[str] = ()) -> Names:
        """Those of the address `listening` (ADDRESS:PORT), with those that its operator gives it (NAME or NAME:PORT).

        InputError for what is no name.
        """
        address, _, port = listening.rpartition(":")
        own = _LOOPBACK if address in _LOOPBACK or address.startswith("127.") else ()
        found = {listening.lower(), *(f"{name}:{port}" for name in own)}
        for name in also:
            if not _NAME.fullmatch(name):
                raise InputError(f"{name!r} is no name that callers could use for this door", hint="gateway.example")
            has_port = re.search(r":[0-9]+\Z", name) is not None and not name.endswith("]")
            found |= (
                {name.lower()} if has_port else {f"{name.lower()}:{each}" for each in (port, *_DEFAULT_PORT.values())}
            )
        return cls(frozenset(found))

    def takes_host(self, host: str | None, scheme: str) -> bool:
        """Whether a request that names `host` (its Host field, None without one) is meant for this door."""
        return host is not None and _with_port(host.lower(), scheme) in self.hosts

    def takes_origin(self, origin: str | None) -> bool:
        """Whether a page of `origin` may ask: ours only, of which there is none. No page (None) is fine."""
        if origin is None:
            return True
        scheme, found, host = origin.lower().partition("://")
        return bool(found) and scheme in _DEFAULT_PORT and _with_port(host, scheme) in self.hosts


def _with_port(host: str, scheme: str) -> str:
    return (
        host if re.search(r":[0-9]+\Z", host) and not host.endswith("]") else f"{host}:{_DEFAULT_PORT.get(scheme, '')}"
    )
