"""People are asked by real processes: ways to them hang, drip and are down, nodes die in the midst of it; each step is
in its time, nothing is lost, and nothing is sent twice under two keys.

What the record says is judged by `tests.escalated`, which uses nothing of the product.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.core import orders
from tests import escalated, receivers
from tests.e2e.test_takeover import Standby
from tests.simulate.fixtures import model, stage
from tests.simulate.house import House, apply, await_true
from tests.simulate.sink import Sink

__all__ = ["stage"]

HOUR_US = 3_600_000_000
TERMS = escalated.Terms(lasts_us=8 * HOUR_US, progress_us=4 * HOUR_US)


@contextlib.contextmanager
def copied(stage: Path) -> Iterator[tuple[House, Sink]]:
    """A house of its own, and a mail server that is not up yet."""
    house, sink = model().copy(stage / f"h{len(list(stage.iterdir()))}"), Sink()
    try:
        yield house, sink
    finally:
        house.tear_down()
        sink.stop()


def step(notify: str, *by: str, within_s: int = 2) -> str:
    return f'[[escalation.steps]]\nnotify = "{notify}"\nby = {json.dumps(by)}\nack_within_s = {within_s}\n'


def report(house: House) -> int:
    """Somebody outside says that something is wrong; the number of its incident."""
    house.hand("cleo").write(
        "incident.report", "somebody rang",
        lambda words: orders.IncidentReport(
            report="external", agent=None, severity="major", title="a customer was charged twice", words=words,
            aware=None, first=None, last=None,
        ),
    )  # fmt: skip
    return int(house.entries("incident.opened")[-1]["body"]["incident"])


def steps(house: House) -> list[dict[str, Any]]:
    return house.entries("escalation.stepped")


def waiting(house: House) -> set[int]:
    """Pages that told nobody yet. One is told by a later one, too, that asks the same person by the same way."""
    accepted = {each["body"]["page"] for each in house.entries("page.attempted") if each["body"]["accepted"]}
    told = accepted | {page for each in house.entries("page.bundled") for page in each["body"]["pages"]}
    newest: dict[tuple[Any, ...], int] = {}
    pages = {each["body"]["page"]: _asked(each["body"]) for each in house.entries("page.queued")}
    for page in sorted(told & pages.keys()):
        newest[pages[page]] = page
    return {page for page, asked in pages.items() if page not in told and newest.get(asked, 0) < page}


def _asked(body: dict[str, Any]) -> tuple[Any, ...]:
    return body["incident"], body["cycle"], body["person"], body["channel"]


def keyed(house: House) -> dict[str, dict[str, Any]]:
    """The pages, by the key that each goes out under."""
    entries = house.entries()
    queued = [each["body"] for each in entries if each["kind"] == "page.queued"]
    parts = ((f"{entries[0]['origin']}/{page['page']}", page) for page in queued)
    return {"page-" + hashlib.sha256(name.encode()).hexdigest()[:24]: page for name, page in parts}


def judge(house: House, sink: Sink, away: list[tuple[int, int]]) -> None:
    """The record holds, and what arrived is what it says, each page under its own key."""
    entries = house.entries()
    pages = {key: page["page"] for key, page in keyed(house).items()}
    keys = [str(each).strip("<>").partition("@")[0] for each in sink.ids()]
    delivered = [(key, pages.get(key, 0)) for key in keys]
    now_us = escalated.us_of(entries[-1]["at"])
    assert escalated.judge(entries, delivered, away, TERMS, now_us) == ()


@pytest.mark.slow
def test_each_step_comes_in_its_time_while_every_way_fails_and_all_of_it_arrives_once_they_work(stage: Path) -> None:
    with (
        copied(stage) as (house, sink),
        receivers.receiving(receivers.hang) as pager,
        receivers.receiving(receivers.drip(0.05)) as room,
        receivers.receiving(receivers.status(503)) as desk,
    ):
        house.node()
        channels = "".join(
            f'[channels.{name}]\nkind = "webhook"\nurl = "http://127.0.0.1:{receiver.port}/in"\ndeadline_s = 1\n'
            'allow_private = ["127.0.0.0/8"]\n'
            for name, receiver in (("pager", pager), ("room", room), ("desk", desk))
        )
        path = step("role:operator", "email", "pager") + step("person:bert", "email", "room")
        apply(house, sink.settings + path + step("role:approver", "email", "desk") + channels)
        incident = report(house)
        await_true(lambda: len(steps(house)) == 4, 20)  # the fourth is the last resort
        assert len(waiting(house)) == len(house.entries("page.queued"))
        first_tries = [{each.headers["webhook-id"] for each in way.received} for way in (pager, room, desk)]
        assert all(first_tries)
        sink.start()
        for way in (pager, room, desk):
            way.behave = receivers.fine
        await_true(lambda: not waiting(house), 25)
        # Every attempt of a page bore its one key, and no key came that is no page's.
        for name, way, tried in zip(("pager", "room", "desk"), (pager, room, desk), first_tries, strict=True):
            came = {each.headers["webhook-id"] for each in way.received}
            assert tried <= came <= {key for key, page in keyed(house).items() if page["channel"] == name}
        house.hand("anna").acknowledge(incident)
        assert house.entries("escalation.ended")[-1]["body"]["outcome"] == "taken"
        judge(house, sink, [])
        house.verify()


def test_nodes_that_die_between_two_steps_and_while_they_send_leave_no_step_out_and_take_none_twice(
    stage: Path,
) -> None:
    with copied(stage) as (house, sink), contextlib.ExitStack() as stack:
        sink.start()
        node = house.node(crashing=True)
        apply(house, sink.settings + step("role:operator", "email") + step("person:bert", "email") * 2)
        standbys = [stand_by(house, stack)]
        incident = report(house)
        await_true(lambda: len(sink.mails) == 1)
        node.plan_strike("commit:escalation.stepped", "before")
        assert node.process.wait(10) == -signal.SIGKILL
        away = [gone(standbys[0])]
        await_true(lambda: len(steps(house)) >= 2)
        standbys.append(stand_by(house, stack))
        os.kill(standbys[0].pid, signal.SIGKILL)
        standbys[0].process.wait(10)
        away.append(gone(standbys[1]))
        await_true(lambda: len(steps(house)) == 4, 20)
        await_true(lambda: not waiting(house), 20)
        house.hang_up()
        house.hand("bert").acknowledge(incident)
        assert [each["body"]["step"] for each in steps(house)] == [1, 2, 3, 4]
        assert len(house.entries("node.takeover")) == 2
        judge(house, sink, away)
        house.hang_up()
        assert standbys[1].stop() == 0
        house.verify()


def stand_by(house: House, stack: contextlib.ExitStack) -> Standby:
    made = Standby(house)

    def end() -> None:
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait(10)

    stack.callback(end)
    return made


def gone(standby: Standby) -> tuple[int, int]:
    """From when until when nobody was there: a node that just died, and who takes its place."""
    gone_us = int(time.time() * 1_000_000)
    standby.hears("ready")
    return gone_us, int(time.time() * 1_000_000)
