"""Settings of mail: how it goes out, and where its answers and bounces come in (D9)."""

from __future__ import annotations

from typing import Literal

import msgspec

from failwell.core.errors import InputError
from failwell.notify.message import check_address


class InboxSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where answers and bounces arrive: a maildir that the node reads, or (`command`) whatever hands each mail to
    `failwell escalation receive`. `address` is the mailbox's own, to which people answer and the mail servers return
    what cannot be delivered; without one that is the sender's.
    """

    kind: Literal["maildir", "command"]
    path: str | None = None
    address: str | None = None

    def check(self) -> None:
        """InputError names what is wrong."""
        if (self.kind == "maildir") != (self.path is not None):
            raise InputError("[mail.inbox]: path is said of a maildir, and a maildir has one")
        if self.address is not None:
            check_address(self.address, "[mail.inbox]: address")


class MailSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How mail goes out, and where its answers come in. Secrets are named by file, never written here."""

    host: str
    port: int = 25
    sender: str
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    inbox: InboxSettings | None = None
