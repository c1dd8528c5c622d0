"""The ways to people that the settings in force declare, and the outbox that sends by them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from failwell.node.answering import Answering
from failwell.node.channels import channels_of
from failwell.node.letters import write_letter
from failwell.node.outbox import Outbox, mail_notifier
from failwell.notify.smtp import SmtpNotifier
from failwell.ports.notifier import Channel

if TYPE_CHECKING:
    from failwell.node.service import Node


def mail_of(node: Node) -> SmtpNotifier | None:
    """How mail goes out; None where no mail server is set up."""
    return mail_notifier(node.settings.mail, node.workspace.path, node.clock)


def shared_of(node: Node) -> dict[str, Channel]:
    """The channels that are nobody's own, by name."""
    found, place = node.settings, node.workspace
    return channels_of(found.channels, found.secrets, place.path, place.keys, node.clock)


def make_outbox(node: Node, answering: Answering) -> Outbox:
    """The outbox of a node, not started."""
    compose = functools.partial(write_letter, node)
    return Outbox(
        node.writer, mail_of(node), compose, node.origin, channels=shared_of(node), answers=answering
    )  # fmt: skip
