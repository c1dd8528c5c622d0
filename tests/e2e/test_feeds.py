"""Other systems are told of incidents by real nodes: they are away, nodes die in the midst of it, tickets are closed.

Everything arrives, in order, under one key each, on one ticket, and what is done there changes nothing here.
"""

from __future__ import annotations

import contextlib
import json
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.core import orders
from tests import receivers
from tests.desks import SECRET, JiraDesk, ServiceNowDesk
from tests.simulate.fixtures import model, stage
from tests.simulate.house import House, apply, await_true

__all__ = ["stage"]

TOLD = "told"


@contextlib.contextmanager
def copied(stage: Path) -> Iterator[House]:
    house = model().copy(stage / f"h{len(list(stage.iterdir()))}")
    kept = house.root / "desk.key"
    kept.write_text(SECRET + "\n")
    kept.chmod(0o600)
    try:
        yield house
    finally:
        house.tear_down()


def section(name: str, kind: str, to: str, *more: str) -> str:
    lines = [f"[feeds.{name}]", f'kind = "{kind}"', f'to = "{to}"', "deadline_s = 2", *more]
    return "\n".join(lines) + "\n"


def secret(house: House) -> str:
    return f'[secrets.desk]\nfile = "{house.root}/desk.key"\n'


def at(receiver: receivers.Receiver) -> str:
    return f"http://127.0.0.1:{receiver.port}"


LOCAL = 'allow_private = ["127.0.0.0/8"]'


def report(house: House, title: str = "a customer was charged twice", severity: str = "major") -> int:
    house.hand("cleo").write(
        "incident.report", "somebody rang",
        lambda words: orders.IncidentReport(
            report="external", agent=None, severity=severity, title=title, words=words,
            aware=None, first=None, last=None,
        ),
    )  # fmt: skip
    return int(house.entries("incident.opened")[-1]["body"]["incident"])


def note(house: House, incident: int) -> None:
    house.hand("cleo").write(
        "incident.note", "looked at it",
        lambda words: orders.IncidentNote(incident=incident, sort="note", words=words or "", cites=()),
    )  # fmt: skip


def about(house: House, incident: int) -> list[int]:
    """Entries that other systems are told of, as the record has them."""
    kinds = {"incident.opened", "incident.noted", "escalation.started", "escalation.stepped", "escalation.ended",
             "acknowledged", "incident.updated", "incident.changed"}  # fmt: skip
    return [
        entry["seq"]
        for entry in house.entries()
        if entry["kind"] in kinds and entry["body"].get("incident") == incident
    ]


def all_told(house: House, name: str) -> Any:
    return await_true(lambda: (told := house.ask("feed", name))["state"] == "all told" and told, 20)


@pytest.mark.requirement("R33.4", "R33.7", "R33.10")
def test_a_system_that_was_away_is_told_everything_later_in_order_and_as_it_stood_then(stage: Path) -> None:
    with copied(stage) as house, receivers.receiving(receivers.status(503)) as soc:
        house.node()
        report(house, "before anybody was told")
        apply(house, section("soc", "ocsf", at(soc) + "/in", LOCAL))
        all_told(house, "soc")
        incident = report(house, "during", "minor")
        note(house, incident)
        await_true(lambda: house.entries("feed.failed"))
        house.hand("anna").acknowledge(incident)
        worse = orders.IncidentRaise(incident=incident, severity="critical", reason="worse than it looked")
        house.hand("anna").give("incident.raise", worse)
        tried = {each.headers["webhook-id"] for each in soc.received}
        assert len(tried) == 1, "what comes after it waits for it"
        soc.received.clear()
        soc.behave = receivers.fine
        all_told(house, "soc")
        told = [each.json for each in soc.received]
        seqs = [event["unmapped"]["failwell"]["seq"] for event in told]
        assert seqs == sorted(set(seqs))
        assert set(about(house, incident)) <= set(seqs)
        assert {event["unmapped"]["failwell"]["incident"] for event in told} == {incident}, "and not what was before it"
        assert soc.received[0].headers["webhook-id"] in tried
        # The first ones were minor when they were written, whatever it is now.
        assert told[0]["severity"] == "Low"
        assert told[0]["activity_name"] == "Create"
        assert told[-1]["severity"] == "Critical" or told[-2]["severity"] == "Critical"
        # A checkpoint that covers the entry came with each.
        for event in told:
            origin, size, *_ = event["unmapped"]["failwell"]["checkpoint"].splitlines()
            assert (origin, int(size) > event["unmapped"]["failwell"]["seq"]) == (house.workspace.origin(), True)
        house.verify()


@pytest.mark.requirement("R33.8")
@pytest.mark.parametrize("kind", ["servicenow", "jira"])
def test_a_node_that_dies_before_a_ticket_is_on_record_makes_no_second_one(stage: Path, kind: str) -> None:
    behave: Any = ServiceNowDesk() if kind == "servicenow" else JiraDesk()
    with copied(stage) as house, receivers.receiving(behave) as desk:
        node = house.node(crashing=True)
        more = ['secret = "desk"', LOCAL, *(['project = "OPS"'] if kind == "jira" else [])]
        apply(house, secret(house) + section("desk", kind, at(desk), *more))
        all_told(house, "desk")
        node.plan_strike("commit:feed.delivered", "before")
        incident = report(house, "x {noformat}[~admin][code]<b>x</b>[/code]")
        assert node.process.wait(15) == -signal.SIGKILL
        house.hang_up()
        made = behave.records if kind == "servicenow" else behave.issues
        assert len(made) == 1
        house.node()
        all_told(house, "desk")
        assert len(made) == 1
        (name,) = made
        assert house.ask("feed", "desk")["theirs"] == [{"incident": incident, "theirs": name}]
        # Closed there, deleted there: it stays open here, and is told anew.
        made[name]["state"] = "7"
        note(house, incident)
        all_told(house, "desk")
        made.clear()
        note(house, incident)
        all_told(house, "desk")
        assert len(made) == 1
        assert house.ask("incident", incident)["state"] not in ("CLOSED", "RESOLVED")
        house.verify()


def test_a_line_of_a_file_is_written_for_each_and_a_system_that_fails_delays_no_other(stage: Path) -> None:
    with copied(stage) as house, receivers.receiving(receivers.hang) as desk:
        house.node()
        file = house.root / "events.jsonl"
        apply(
            house,
            secret(house) + section("file", "ocsf", f"file:{file}", 'begin = "first"')
            + section("desk", "servicenow", at(desk), 'secret = "desk"', LOCAL),
        )  # fmt: skip
        all_told(house, "file")
        incident = report(house)
        await_true(lambda: file.exists() and f'"incident":{incident}' in file.read_text())
        all_told(house, "file")
        told = [json.loads(line)["unmapped"]["failwell"]["seq"] for line in file.read_text().splitlines()]
        assert sorted(told) == told
        assert set(about(house, incident)) <= set(told)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        await_true(lambda: house.entries("feed.failed"))
        listed = {each["feed"]: each["state"] for each in house.ask("feeds")}
        assert listed == {"file": "all told", "desk": "failed"}
        # A section that is gone tells no more, and goes on where it was when it is there again.
        apply(house, secret(house))
        note(house, incident)
        await_true(lambda: {each["state"] for each in house.ask("feeds")} == {"not declared"})
        before = file.read_text()
        apply(house, section("file", "ocsf", f"file:{file}"))
        all_told(house, "file")
        added = file.read_text().removeprefix(before).splitlines()
        assert "incident.noted" in [json.loads(line)["metadata"]["event_code"] for line in added]
        house.verify()


def test_a_node_that_stops_waits_for_no_system(stage: Path) -> None:
    with copied(stage) as house, receivers.receiving(receivers.hang) as desk:
        node = house.node()
        apply(house, section("soc", "ocsf", at(desk), LOCAL, 'begin = "first"'))
        report(house)
        await_true(lambda: desk.received)
        house.end(node)
        assert house.entries()[-1]["kind"] == "node.stopped"
