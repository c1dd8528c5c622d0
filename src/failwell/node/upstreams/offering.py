"""What of a server's offer an agent is shown: what a person accepted and its contract lists, narrowed to that.

It is help for the agent and no bound: each call is judged by the contract, and its definition is compared again.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from failwell.core import contract as contracts
from failwell.core import kinds
from failwell.core.contract.json_schema import tightened
from failwell.core.errors import FailwellError
from failwell.node.upstreams.server import METHODS, Server, Who

if TYPE_CHECKING:
    from failwell.node.upstreams.speaking import Offer

#: Text of definitions that one entry keeps, and names that it has room for.
MAX_TEXT, MAX_NAMED = 1_000_000, 200
_EFFECTS = ("read", "reversible", "irreversible")


def digests_of(offer: Offer) -> dict[str, str | None]:
    """The digest of each definition by its tool's name.

    Attack: two tools of one name, of which the accepted one is shown and the other answers: none of them is taken.
    """
    found: dict[str, str | None] = {}
    for each in offer.definitions:
        found[each.name] = None if each.name in found else each.digest
    return found


def digest_of(offer: Offer) -> str:
    """One digest for all that is offered."""
    return hashlib.sha256("\n".join(each.digest for each in offer.definitions).encode()).hexdigest()


def listed(server: Server, offer: Offer) -> tuple[kinds.UpstreamListed, dict[str, Any]]:
    """The entry about an offer, and what of it lies in the blob."""
    # Attack: a server that calls itself, or a tool that nobody accepted, by the secret that it was given.
    cleaned = server.redaction.text
    changed = dict.fromkeys(name for name in server.digests if server.changed(f"{server.name}.{name}"))
    refused = tuple(cleaned(name)[:128] for name in changed)
    definitions, left = [], MAX_TEXT
    for each in offer.definitions:
        text = cleaned(each.raw.decode("utf-8", "replace")) if len(each.raw) <= left else None
        left -= 0 if text is None else len(each.raw)
        definitions.append({"name": cleaned(each.name), "digest": each.digest, "definition": text})
    body = kinds.UpstreamListed(
        upstream=server.name, session=server.session, kind="http" if server.elsewhere else "stdio",
        protocol=offer.protocol[:64], tools=digest_of(offer), count=len(offer.definitions),
        refused=refused[:MAX_NAMED], refused_more=max(0, len(refused) - MAX_NAMED),
    )  # fmt: skip
    return body, {"definitions": definitions, "server": cleaned(f"{offer.server} {offer.version}")[:400]}


def told_of(server: Server, who: Who) -> dict[str, Any]:
    """What an agent may use of one server, and what it may not and why."""
    offer = server.offer
    assert offer is not None  # it stands
    cleaned = server.redaction.text
    tools, left_out = [], []
    for each in offer.definitions:
        name = f"{server.name}.{each.name}"
        why = _left_out(server, who, name)
        if why is None:
            try:
                tools.append(_shown(name, each.value(), who))
                continue
            except (FailwellError, ValueError, TypeError) as error:
                why = f"Its definition cannot be shown: {getattr(error, 'message', type(error).__name__)}"
        left_out.append({"name": cleaned(each.name), "why": cleaned(why)})
    methods = [
        each for each in sorted(offer.methods & METHODS) if not who.governed or f"{server.name}.{each}" in who.tools
    ]  # fmt: skip
    return {
        "name": server.name, "kind": "http" if server.elsewhere else "stdio", "protocol": offer.protocol,
        "server": {"name": cleaned(offer.server), "version": cleaned(offer.version)},
        "tools": tools, "methods": methods,
        "left_out": left_out,
    }  # fmt: skip


def _left_out(server: Server, who: Who, name: str) -> str | None:
    if name.partition(".")[2] in METHODS:
        return "It has the name of a request of the protocol, and would be taken for that."
    if who.governed and name not in who.tools:
        return "The contract does not list it."
    return server.changed(name)


def _shown(name: str, definition: dict[str, Any], who: Who) -> dict[str, Any]:
    items: tuple[contracts.Tool, ...] = who.tools.get(name, ())
    if who.governed:
        schema = definition.get("inputSchema")
        for item in items:
            schema = tightened(schema if isinstance(schema, dict) else {}, item)
        definition["inputSchema"] = schema
    effect = max((_EFFECTS.index(item.effect) for item in items), default=len(_EFFECTS) - 1)
    return {"tool": name, "definition": definition, "effect": _EFFECTS[effect]}
