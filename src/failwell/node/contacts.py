"""Codes to people's addresses: recorded first, then mailed, and kept by nobody here (R3).

A code is not a page: it is good for an hour and asked for by somebody who waits, so it is sent once, and whoever asked
is told when that failed.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from typing import TYPE_CHECKING

from failwell.core.errors import Refused, Unhealthy
from failwell.core.orders import SignedOrder, parse_order
from failwell.gate import people
from failwell.identity.persons import verify_order
from failwell.ledger.jobs import NORMAL
from failwell.node.assembly import new_salt
from failwell.ports.notifier import Mail, NotifyFailed
from failwell.response.letters import contact_letter

if TYPE_CHECKING:
    from failwell.node.service import Node


class Contacts:
    """Makes and sends the codes of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def ask(self, signed: SignedOrder) -> str:
        """Record that a code goes out, send it, and answer what the mail server said. Refused without [mail]."""
        notifier = self._node.outbox.notifier
        person = parse_order(signed.order).details.person
        if notifier is None:
            raise Refused(
                "no mail server is set up to send a code with",
                hint=f"Set [mail] in failwell.toml, or: failwell person verify {person} --vouch --as OTHER",
            )
        code = "".join(secrets.choice(people.CODE_LETTERS) for _ in range(people.CODE_LENGTH))
        job = people.ask_contact(signed, code, new_salt(), verify_order)
        address = await self._node.writer.submit_async(job, NORMAL)
        subject, text = contact_letter(person, self._node.origin, code)
        local = hashlib.sha256(f"{self._node.origin}/{signed.signature}".encode()).hexdigest()[:24]
        mail = Mail(to=address, subject=subject, text=text, message_id=f"<contact-{local}@failwell.invalid>")
        try:
            receipt = await asyncio.to_thread(notifier.send, mail)
        except NotifyFailed as error:
            said = error.message.replace(address, "the recipient")
            raise Unhealthy(
                f"the code for {person} could not be mailed: {said}",
                hint=f"Look at [mail], or: failwell person verify {person} --vouch --as OTHER",
            ) from error
        return receipt.detail.replace(address, "the recipient")
