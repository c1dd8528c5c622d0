"""What `doctor` says of the HTTP door: whether it answers, which is found out by asking it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

WITHIN_S = 2.0

Line = tuple[str, str, str] | tuple[str, str, str, str]


def lines(status: dict[str, Any]) -> Iterator[Line]:
    """Part, state, what was found, what to do. Nothing where no door is wanted."""
    told = status["http"]
    if not told["wanted"]:
        return
    if told["address"] is None:
        why = told["why"] or "it is being started"
        yield "http", "todo", f"does not answer: {why}", "the node's log (node.log) says more; [http] in failwell.toml"
        return
    word, why = _ask(told["address"])
    times = f", started anew {told['restarts']} times" if told["restarts"] else ""
    if word is None:
        yield "http", "todo", f"does not answer at {told['address']}: {why}", "failwell serve --stop starts it anew"
    else:
        yield "http", "ok", f"answers at {told['address']} (process {told['pid']}): {word}{times}"


def _ask(address: str) -> tuple[str | None, str]:
    """Its one word, or why there is none."""
    import http.client
    import ssl

    scheme, _, place = address.partition("://")
    link: http.client.HTTPConnection
    if scheme == "https":
        # It is asked whether it answers, and told nothing: whoever it is.
        context = ssl._create_unverified_context()  # noqa: S323
        link = http.client.HTTPSConnection(place, timeout=WITHIN_S, context=context)
    else:
        link = http.client.HTTPConnection(place, timeout=WITHIN_S)
    try:
        link.request("GET", "/v1/health")
        return str(json.loads(link.getresponse().read(1000))["health"]), ""
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
        return None, str(error) or type(error).__name__
    finally:
        link.close()
