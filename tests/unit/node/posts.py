"""An outbox over a house, with ways to people that do what a test says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from failwell.core.rows import Page
from failwell.node.outbox import Outbox
from failwell.node.posting import EMAIL
from failwell.ports.notifier import Mail, Message, NotifyFailed, Receipt
from failwell.response.letters import Letter
from tests.unit.gate.house import ORIGIN, House

RECEIPT = Receipt(accepted=True, detail="250", at="2026-01-01T00:00:00.000000Z")


class Straight:
    """A writer without a thread: each job is its own commit, at once."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.book = house.book

    def submit(self, job: Any, lane: int = 1) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(self._house.do(job))
        except Exception as error:  # noqa: BLE001  whoever waits gets it
            future.set_exception(error)
        return future


class Box:
    """A mail server: what it took over; `fails` says what happens instead."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.fails: Callable[[Mail], None] | None = None
        self.hangs: threading.Event | None = None

    def send(self, mail: Mail) -> Receipt:
        if self.hangs is not None:
            self.hangs.wait(30)
        if self.fails is not None:
            self.fails(mail)
        self.mails.append(mail)
        return RECEIPT


class Room:
    """A channel that several read; as `Box`."""

    provider = "a room"

    def __init__(self) -> None:
        self.told: list[Message] = []
        self.fails: Callable[[Message], None] | None = None
        self.hangs: threading.Event | None = None

    def tell(self, message: Message) -> Receipt:
        if self.hangs is not None:
            self.hangs.wait(30)
        if self.fails is not None:
            self.fails(message)
        self.told.append(message)
        return RECEIPT


def failing(*, temporary: bool, retry_after_s: int | None = None) -> Callable[[Any], None]:
    """No delivery, now or ever."""

    def fail(_: Any) -> None:
        raise NotifyFailed("no", temporary=temporary, retry_after_s=retry_after_s)

    return fail


def letter_of(page: Page) -> Letter:
    """A short one, with what it tells besides."""
    told = "".join(f"\nincident {number}" for number, _ in page.bundled)
    return Letter(f"incident {page.incident}", f"{page.about or 'first'} of {page.incident}{told}", 1)


def outbox_of(house: House, box: Box | None, **channels: Room) -> Outbox:
    """The outbox; its threads are not started."""
    return Outbox(Straight(house), box, letter_of, ORIGIN, channels=dict(channels))  # type: ignore[arg-type]


def post(outbox: Outbox, lane: str = EMAIL) -> int:
    """What a worker of a lane does when it wakes, until nothing is due. Answers how many went out or were tried."""
    tried = 0
    while due := outbox._due(lane):
        outbox._attempt(due[0])
        tried += 1
        assert tried < 1000
    return tried
