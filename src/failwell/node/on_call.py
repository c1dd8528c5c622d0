"""What an on-call service says by its webhook: who of its users took which incident (PagerDuty webhooks, version 3).

Believed only with its signature over the bytes as they came, while it is fresh, and for a user whom the settings map to
a person. Source: developer.pagerduty.com, "Webhooks V3", "Verifying Webhook Signatures".
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from failwell.core.errors import InputError, NotFound, Refused
from failwell.core.instants import parse_at
from failwell.node.channels import read_secret
from failwell.node.posting import first_thread, proof_thread, thread_of
from failwell.node.requests import Hooked

if TYPE_CHECKING:
    from failwell.node.service import Node

MAX_BODY = 262_144
MAX_AGE_US = 300_000_000
_TAKEN = "incident.acknowledged"


class Taken(NamedTuple):
    """One of its events: `digest` is of its id (SHA-256, hex), which counts once. `incident` is 0 where it took what it
    was asked to show that it reaches somebody; `at_us` when (UTC, by its clock).
    """

    incident: int
    person: str
    digest: str
    detail: str
    at_us: int


def read_event(node: Node, request: Hooked) -> Taken | None:
    """Who took which incident; None for an event that is about something else. Refused where it does not hold."""
    declared = node.settings.channels.get(request.channel)
    if declared is None or declared.kind != "pagerduty" or declared.webhook_secret is None:
        raise NotFound(f"no channel {request.channel} listens here")
    raw = request.body.encode()
    secret = read_secret(declared.webhook_secret, node.settings.secrets, node.workspace.path).encode()
    mac = "v1=" + hmac.new(secret, raw, hashlib.sha256).hexdigest()
    given = [each.strip() for each in request.signature.split(",")][:8]
    if len(raw) > MAX_BODY or not any(hmac.compare_digest(mac.encode(), each.encode()) for each in given):
        raise Refused("it is not signed by that service", code="answer-refused")
    event = _event(raw)
    if event is None or event.get("event_type") != _TAKEN:
        return None
    at_us = _at_us(event)
    if abs(node.clock.wall_us() - at_us) > MAX_AGE_US:
        raise Refused("it is not of just now", code="answer-refused")
    user = str((event.get("agent") or {}).get("id", ""))
    person = declared.people.get(user)
    if person is None:
        raise Refused(
            "its user is nobody here", code="answer-refused", hint=f"Map it in [channels.{request.channel}] people."
        )
    incident = _incident(node, request.channel, str((event.get("data") or {}).get("incident_key", "")))
    if incident is None:
        return None
    digest = hashlib.sha256(f"pagerduty/{request.channel}/{event.get('id')}".encode()).hexdigest()
    return Taken(incident, person, digest, f"user {user[:40]} of {request.channel}", at_us)


def _incident(node: Node, channel: str, key: str) -> int | None:
    """The incident of an alert, 0 for one that is about none; None for one that is not ours."""
    state, origin = node.writer.book.state, node.origin
    persons = list(state.person)
    if any(key == proof_thread(origin, channel, person) for person in persons):
        return 0
    numbers = range(state.incidents, 0, -1)
    return next((number for number in numbers if thread_of(origin, number) == first_thread(key)), None)


def _event(raw: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(raw)
    except ValueError as error:
        raise InputError("its body is no JSON") from error
    event = told.get("event") if isinstance(told, dict) else None
    if not isinstance(event, dict) or not isinstance(event.get("id"), str) or not event["id"]:
        return None
    return event if all(isinstance(event.get(name) or {}, dict) for name in ("agent", "data")) else None


def _at_us(event: dict[str, Any]) -> int:
    """When it happened there; 0 where it does not say so in a way that can be read."""
    text = str(event.get("occurred_at", ""))
    try:
        whole, _, rest = text.removesuffix("Z").partition(".")
        return parse_at(f"{whole}.{(rest or '0')[:6]:0<6}Z")
    except (ValueError, InputError):
        return 0
