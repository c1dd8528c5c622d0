"""From the settings in force to the systems that are told of incidents. Nothing is reached or read before one is told.

A feed's secrets are read like those of channels: anew each time, from where the settings say, and into no error.
"""

from __future__ import annotations

import functools
from pathlib import Path

from failwell.node.channels import endpoint, read_secret, webhook_key
from failwell.node.feed_settings import FILE, SYSLOG, FeedSettings
from failwell.node.kept import SecretSettings
from failwell.notify.jira import Jira
from failwell.notify.lines import Lines
from failwell.notify.posted import Posted
from failwell.notify.servicenow import ServiceNow
from failwell.notify.standard_webhooks import Webhook
from failwell.notify.syslog import Syslog, parse_place
from failwell.notify.tickets import Desk
from failwell.ports.clock import Clock
from failwell.ports.systems import System


def system_of(
    said: FeedSettings, secrets: dict[str, SecretSettings], place: Path, keys_at: Path, origin: str, clock: Clock
) -> System:
    """The system that a section declares; files are named from `place`."""
    if said.to.startswith(FILE):
        return Lines(Path(said.to.removeprefix(FILE)), origin, clock)
    if said.to.startswith(SYSLOG):
        ca_file = None if said.ca_file is None else place / said.ca_file
        return Syslog(parse_place(said.to), origin, clock, ca_file=ca_file, deadline_s=said.deadline_s)
    at = endpoint(said, place, said.to)
    secret = functools.partial(read_secret, said.secret or "", secrets, place)
    if said.kind == "servicenow":
        return ServiceNow(Desk(at, secret, "ServiceNow"))
    if said.kind == "jira":
        return Jira(Desk(at, secret, "Jira"), said.project or "", said.issue_type)
    shared = None if said.secret is None else secret
    return Posted(Webhook(at, clock, lambda signed: webhook_key(keys_at).sign(signed), shared), origin, clock)
