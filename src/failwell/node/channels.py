"""From the settings in force to the channels that are not a person's own, by name.

Secrets are read anew for each message, from where the settings say, and stand in no error. A secret that a command
prints is not asked for here: a page does not wait for a vault.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from failwell.core.errors import InputError, NotFound
from failwell.identity import keys
from failwell.node.escalation_settings import ChannelSettings
from failwell.node.feed_settings import FeedSettings
from failwell.node.kept import SecretSettings
from failwell.notify import pagerduty
from failwell.notify.apprise import Apprise
from failwell.notify.desktop import Desktop
from failwell.notify.pinned import Endpoint, Network
from failwell.notify.slack import Slack
from failwell.notify.standard_webhooks import Webhook, public_text
from failwell.notify.terminal import Terminal
from failwell.ports.clock import Clock
from failwell.ports.notifier import Channel, NotifyFailed

if TYPE_CHECKING:
    from failwell.node.service import Node

#: The key that webhooks are signed with, beside the log's. Who can read `keys/` can sign in the workspace's name.
KEY_FILE = "webhooks.key"
MAX_SECRET_BYTES = 4096


def channels_of(
    declared: dict[str, ChannelSettings], secrets: dict[str, SecretSettings], place: Path, keys_at: Path, clock: Clock
) -> dict[str, Channel]:
    """Every declared channel. Files are named from `place`; nothing is reached or read before a message goes out."""
    return {name: _made(each, secrets, place, keys_at, clock) for name, each in declared.items()}


def _made(
    said: ChannelSettings, secrets: dict[str, SecretSettings], place: Path, keys_at: Path, clock: Clock
) -> Channel:
    secret = functools.partial(read_secret, said.secret or "", secrets, place)
    at = functools.partial(endpoint, said, place)
    if said.kind == "webhook":
        shared = None if said.secret is None else secret
        return Webhook(at(said.url or ""), clock, lambda signed: webhook_key(keys_at).sign(signed), shared)
    if said.kind == "pagerduty":
        return pagerduty.PagerDuty(at(said.url or pagerduty.URL), clock, secret)
    if said.kind == "slack":
        return Slack(lambda: _secret_endpoint(said, place, secret().strip()), clock)
    if said.kind == "terminal":
        return Terminal(said.users, clock)
    if said.kind == "desktop":
        return Desktop(clock, said.deadline_s)
    return Apprise(secret, clock, said.deadline_s)


def endpoint(said: ChannelSettings | FeedSettings, place: Path, url: str) -> Endpoint:
    """The address that is spoken to, with the bounds that the settings set."""
    allow: tuple[Network, ...] = tuple(ipaddress.ip_network(text) for text in said.allow_private)
    ca_file = None if said.ca_file is None else place / said.ca_file
    return Endpoint(url, allow=allow, ca_file=ca_file, deadline_s=said.deadline_s)


def _secret_endpoint(said: ChannelSettings, place: Path, url: str) -> Endpoint:
    """Attack: a mistyped URL whose error, with the secret in its path, would come to stand in an entry."""
    try:
        return endpoint(said, place, url)
    except InputError:
        pass
    raise NotifyFailed(
        f"secret {said.secret} holds no URL that can be asked", temporary=False, hint="One line: https://..."
    )


def webhook_key(keys_at: Path) -> keys.SigningKey:
    """The workspace's own key for webhooks, made when it is first needed; it signs nothing else."""
    path = keys_at / KEY_FILE
    try:
        return keys.load_key(path)
    except NotFound:
        pass
    try:
        keys.save_key(path, keys.generate())
    except InputError:  # two channels needed it at once: a key is never written over, so one of theirs is there
        if not path.exists():
            raise
    return keys.load_key(path)


async def published(node: Node) -> dict[str, Any]:
    """What receivers are given, so that they can tell our webhooks from others'."""
    key = await asyncio.to_thread(webhook_key, node.workspace.keys)
    urls = {
        name: each.url for name, each in sorted(node.settings.channels.items()) if each.kind == "webhook" and each.url
    }
    return {"key": public_text(key.public), "webhooks": urls}


def read_secret(name: str, secrets: dict[str, SecretSettings], place: Path) -> str:
    """A secret's text, from a file of 0600 or the node's own environment. NotifyFailed where it is not to be had."""
    kept = secrets.get(name)
    if kept is None or kept.command is not None:
        why = "is printed by a command, for which no page waits" if kept is not None else "is not declared"
        raise NotifyFailed(f"secret {name} {why}", temporary=False, hint=f"Say file or env in [secrets.{name}].")
    if kept.env is not None:
        value = os.environ.get(kept.env)
        if not value:
            raise NotifyFailed(f"secret {name}: {kept.env} is not set where the node was started", temporary=False)
        return value
    try:
        return keys.read_kept(place / (kept.file or ""), MAX_SECRET_BYTES).decode().rstrip("\r\n")
    except (InputError, NotFound, OSError, UnicodeDecodeError) as error:
        said = error.message if isinstance(error, InputError | NotFound) else "it cannot be read"
        raise NotifyFailed(f"secret {name}: {said}", temporary=False) from error
