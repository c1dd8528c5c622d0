"""For which run an agent's session works, and on whose behalf, because of what: who may say so, and in which way. Pure.

Three ways, and no fourth (D24):
- `Failwell-Run: N`: a run of this agent that somebody opened before, a host by its own credential for example. Whose
  word the principal and the request then are stands in that run.
- `Failwell-Principal`, `Failwell-Request`: from a proxy that proved to be a registered host, and passes on the token of
  the agent that it speaks for (`Failwell-Agent`), all of it under its signature; or from whoever can reach a gateway
  that was started with a host's key to believe them. The host opens the run, for agents that are registered as its own.
- nothing: the run has no principal and no request, and the record says so.

What anybody else says is refused, never left out silently: who asks for a refund on a customer's behalf must not find
out afterwards that nobody's was recorded. The same goes for a header of ours that nobody knows.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from failwell.gateway.inbound import Headers, Rejected, unwrapped

PREFIX: Final = "failwell-"
AGENT, RUN, PRINCIPAL, REQUEST = "failwell-agent", "failwell-run", "failwell-principal", "failwell-request"
MAX_PRINCIPAL: Final = 1024
MAX_REQUEST: Final = 16_384
_RUN = re.compile(r"[1-9][0-9]{0,14}")


class Behalf(NamedTuple):
    """`run`: an open one; else one is opened, by `host` if that is named, else by the agent itself and for nobody."""

    run: int | None = None
    principal: str | None = None
    request: str | None = None
    host: str | None = None


NOBODY = Behalf()


def read(headers: Headers, host: str | None, *, passed_on: bool = False) -> Behalf:
    """What the headers of a request say. `host`: who is believed, where anybody is; `passed_on`: it sends the request
    itself, for an agent that it names. Rejected for what may not stand.
    """
    known = (RUN, PRINCIPAL, REQUEST, AGENT) if passed_on else (RUN, PRINCIPAL, REQUEST)
    unknown = [name for name in headers.beginning(PREFIX) if name not in known]
    if unknown:
        raise Rejected(400, f"the header {unknown[0][:60]} is none that may stand here: {', '.join(known)}")
    run = headers.one(RUN)
    principal = _text(headers, PRINCIPAL, MAX_PRINCIPAL)
    request = _text(headers, REQUEST, MAX_REQUEST)
    if run is not None:
        if principal is not None or request is not None:
            raise Rejected(400, f"principal and request are those of the run: {RUN} stands alone")
        if not _RUN.fullmatch(run):
            raise Rejected(400, f"{RUN} is the number of a run")
        return Behalf(run=int(run))
    if principal is None and request is None:
        return NOBODY
    if host is None:
        # Attack: an agent that says for itself on whose behalf it works, and is taken at its word.
        raise Rejected(
            403, f"{PRINCIPAL} and {REQUEST} are believed from a registered host only. It opens the run and hands on "
            f"its number ({RUN}), or passes requests on itself with its own proof: docs/gateway.md",
        )  # fmt: skip
    return Behalf(principal=principal, request=request, host=host)


def _text(headers: Headers, name: str, most: int) -> str | None:
    """The text of a header; what is not ASCII is wrapped as `=?base64?...?=`. Rejected for what is neither."""
    raw = headers.one(name)
    if raw is None:
        return None
    text = unwrapped(raw)
    if text is None or not (raw.isascii() and raw.isprintable()):
        raise Rejected(400, f"{name} is ASCII, or its UTF-8 in base64: =?base64?...?=")
    if not text.strip() or len(text) > most:
        raise Rejected(400, f"{name} is a text of 1 to {most:,} letters")
    return text
