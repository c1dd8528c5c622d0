"""How pages are answered without a person's key: what travels with them, and what comes back (R10).

Whatever comes back acknowledges, proves or receives, once, for the person it was sent to, and does nothing else.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from failwell.core import kinds
from failwell.core.errors import InputError, Refused, Unhealthy
from failwell.core.escalation.answered import GOOD_FOR_US
from failwell.core.escalation.stepping import STEP
from failwell.core.rows import Page
from failwell.identity.answer_keys import AnswerKeys, Claims, digest_of, open_keys, read_code
from failwell.ledger.jobs import CONTAINMENT, Job, Plan, Turn
from failwell.node.on_call import read_event
from failwell.node.posting import key_of
from failwell.node.requests import Answer, Hooked, Mailed
from failwell.notify.inbox import Bounce, Ignored, read_mail
from failwell.response import answers, digests, proofs
from failwell.response.answerable import Answerable

if TYPE_CHECKING:
    from failwell.node.service import Node

#: What pages that ask for something are about, and what their answer does.
PURPOSES = {"": "acknowledge", STEP: "acknowledge", "proof": "prove", "digest": "receive"}
#: So much of a mail that came back is kept with its entry, encrypted: the report stands at its beginning.
KEPT_BYTES = 32_768
#: How often, and how far apart, it is looked whether what somebody answers is on record by now.
RECORDED_TRIES, RECORDED_WAIT_S = 20, 0.1


class Answering:
    """Makes what travels with the pages of one node. Called in the outbox's threads."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._keys: AnswerKeys | None = None
        #: What answers do that are about no incident, by purpose: (answer, whether it is only looked at) -> job.
        self.beside: dict[str, Callable[[answers.Given, bool], Job[dict[str, Any]]]] = {
            "receive": digests.receive_answer,
            "prove": proofs.answer,
        }

    @property
    def keys(self) -> AnswerKeys:
        """The workspace's keys, made when they are first needed."""
        with self._lock:
            if self._keys is None:
                self._keys = open_keys(self._node.workspace.keys, self._node.origin)
            return self._keys

    def of(self, number: int, page: Page) -> Answerable | None:
        """How page `number` can be answered; None where it asks for nothing, or neither a door nor an inbox is set
        up. A channel that several read carries nothing: whoever reads it could answer for another.
        """
        purpose = PURPOSES.get(page.about)
        asks = page.cycle > 0 or page.about in ("proof", "digest")
        if purpose is None or not asks or page.channel != "email":
            return None
        settings = self._node.settings
        links = None if settings.escalation is None else settings.escalation.links
        inbox = settings.mail is not None and settings.mail.inbox is not None
        if links is None and not inbox:
            return None
        keys = self.keys
        claims = Claims(
            origin=self._node.origin, purpose=purpose, page=number, person=page.person,
            incident=page.incident or 0, cycle=page.cycle, expires_us=page.due_us + GOOD_FOR_US,
        )  # fmt: skip
        link = None if links is None else f"{links.rstrip('/')}/a/{keys.token(claims)}"
        return Answerable(link, keys.code(number) if inbox else None, keys.digest(number))

    def returned(self, number: int) -> str | None:
        """What the mail of page `number` bears, to be known if it comes back; None where nothing that does is read."""
        mail = self._node.settings.mail
        return None if mail is None or mail.inbox is None else self.keys.returned(number)

    # -- what comes back ---------------------------------------------------------------------------------------

    async def answer(self, request: Answer | Mailed | Hooked) -> dict[str, Any]:
        """What somebody gives back. Whoever it is need prove nothing else; what does not hold is counted (D26)."""
        try:
            if isinstance(request, Answer):
                return await self._by_link(request)
            if isinstance(request, Mailed):
                return await self.take_mail(_decoded(request.content))
            return await self._by_hook(request)
        except Refused:
            self._node.refusals.count("answers", "no answer that holds")
            raise

    async def _by_link(self, request: Answer) -> dict[str, Any]:
        keys = await asyncio.to_thread(lambda: self.keys)
        claims = keys.read(request.token, self._node.clock.wall_us())
        given = answers.Given("link", keys.digest(claims.page), claims.page, claims.person, "by the link that was sent")
        if claims.purpose != "acknowledge":
            return await self._beside(claims.purpose, given, look=request.look)
        if request.look:
            seen = await self._node.writer.submit_async(answers.look(given))
            return {"state": "taken" if seen.taken_by else "asked", "purpose": claims.purpose, **seen._asdict()}
        taken = await self._acknowledged(given)
        return {"state": "done", "purpose": claims.purpose, **taken._asdict()}

    async def _acknowledged(self, given: answers.Given) -> answers.Answered:
        """Take it. Whoever is faster than the record of what they answer waits for that for a moment."""
        for tries in range(RECORDED_TRIES, 0, -1):
            try:
                return await self._node.writer.submit_async(answers.acknowledge(given), CONTAINMENT)
            except Unhealthy as error:
                if error.code != answers.UNRECORDED or tries == 1:
                    raise
            await asyncio.sleep(RECORDED_WAIT_S)
        raise AssertionError("the last try answers or raises")

    async def _beside(self, purpose: str, given: answers.Given, *, look: bool) -> dict[str, Any]:
        """An answer that is about no incident."""
        if purpose not in self.beside:
            raise Refused("nobody waits for that answer here", code="answer-refused")
        told = await self._node.writer.submit_async(self.beside[purpose](given, look))
        return {"state": "asked" if look else "done", "purpose": purpose, "person": given.person, **told}

    async def take_mail(self, content: bytes) -> dict[str, Any]:
        """What a mail that came in does: it acknowledges, tells that another came back, or nothing, with the reason."""
        found = await asyncio.to_thread(read_mail, content)
        if isinstance(found, Ignored):
            return {"state": "ignored", "why": found.why}
        if isinstance(found, Bounce):
            return await self._came_back(found, content)
        code = read_code(found.code)
        if code is None:
            return {"state": "ignored", "why": "its code is none of ours"}
        digest = digest_of(code)
        page, person, own = await self._node.writer.submit_async(_page_of(digest))
        # Attack: a letter that was passed on. Its code is not the one's who got it in the end.
        if own is None or own.lower() != found.sender:
            raise Refused("it is not from the address that the code was sent to", code="answer-refused")
        given = answers.Given("reply", digest, page, person, "by a reply from the address on record")
        purpose = await self._node.writer.submit_async(_purpose_of(digest))
        if purpose != "acknowledge":
            return await self._beside(purpose, given, look=False)
        taken = await self._acknowledged(given)
        return {"state": "done", "purpose": "acknowledge", **taken._asdict()}

    async def _came_back(self, found: Bounce, content: bytes) -> dict[str, Any]:
        number = found.returned.partition("-")[0]
        page = int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0
        keys = await asyncio.to_thread(lambda: self.keys)
        # Attack: a Message-ID can be computed by whoever knows the ledger's name, and a page that seems to have come
        # back has the next step taken at once.
        ours = page and hmac.compare_digest(keys.returned(page).encode(), found.returned.encode())
        if not ours or all(key_of(origin, page) != found.key for origin in self._node.origins):
            return {"state": "ignored", "why": "what came back was not sent by this workspace"}
        notice = content[:KEPT_BYTES]
        body = kinds.PageBounced(
            page=page, permanent=found.permanent, detail=found.detail, message=hashlib.sha256(notice).hexdigest()
        )
        if not await self._node.writer.submit_async(answers.bounce(body, base64.b64encode(notice).decode())):
            return {"state": "ignored", "why": "that it came back is on record already"}
        return {"state": "bounced", "page": page, "permanent": found.permanent}

    async def _by_hook(self, request: Hooked) -> dict[str, Any]:
        event = await asyncio.to_thread(read_event, self._node, request)
        if event is None:
            return {"state": "ignored", "why": "it is no acknowledgment of an incident of ours"}
        if not event.incident:
            proving = proofs.from_service(request.channel, event.person, event.digest, event.at_us)
            proven = await self._node.writer.submit_async(proving)
            return {"state": "done", "purpose": "prove", "person": proven.person, "entry": proven.entry}
        taken = await self._node.writer.submit_async(
            answers.from_service(request.channel, event.incident, event.person, event.digest, event.detail), CONTAINMENT
        )
        return {"state": "done", "purpose": "acknowledge", **taken._asdict()}


def _decoded(content: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except ValueError as error:
        raise InputError("the mail is not in base64") from error


def _page_of(digest: str) -> Job[tuple[int, str, str | None]]:
    """The page that carried a secret, whom it was sent to, and the address of theirs. Refused where there is none."""

    def job(turn: Turn) -> Plan[tuple[int, str, str | None]]:
        page, person = answers.sent_with(turn, digest)
        row = turn.state.person.get(person)
        secret = None if row is None else turn.secret(row.enrolled)
        own = None if secret is None else str(secret["email"])
        return Plan((), lambda entries: (page, person, own))

    return job


def _purpose_of(digest: str) -> Job[str]:
    def job(turn: Turn) -> Plan[str]:
        purpose = answers.purpose_of(turn, digest)
        return Plan((), lambda entries: purpose)

    return job
