"""What people are told and what only people can give back: pages that survive crashes, release by two of them."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from failwell.client import powers
from failwell.core import orders as o
from failwell.core.errors import FailwellError, Refused
from failwell.identity import keys
from failwell.identity.persons import Signer, prove_enrolment, sign_order
from failwell.node.audit import verify_workspace
from tests.simulate.house import House, await_true, scene
from tests.simulate.sink import Sink, plain


@pytest.fixture(scope="module")
def post() -> Iterator[tuple[House, Sink, Path]]:
    """A model house that mails to a sink which is not up yet."""
    sink = Sink()
    with scene() as directory:
        yield House.build(directory / "model", settings=sink.settings), sink, directory


@pytest.fixture
def mailed(post: tuple[House, Sink, Path]) -> Iterator[tuple[House, Sink]]:
    model, sink, directory = post
    house = model.copy(directory / f"h{len(list(directory.iterdir()))}")
    sink.mails.clear()
    try:
        yield house, sink
    finally:
        house.tear_down()
        sink.stop()


# ---- pages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "side", "copies"),
    [
        ("mail", "before", 1), ("mail", "after", 2), ("commit:page.attempted", "before", 2),
        ("commit:page.attempted", "after", 1),
    ],
)  # fmt: skip
def test_a_node_killed_while_it_mails_sends_the_same_message_again_and_keeps_one_page(
    mailed: tuple[House, Sink], point: str, side: str, copies: int
) -> None:
    house, sink = mailed
    sink.start()
    node = house.node(crashing=True)
    node.plan_strike(point, side)
    house.suspend()
    assert node.process.wait(10) == -signal.SIGKILL
    house.hang_up()
    house.node(crashing=True)
    await_true(lambda: house.entries("page.attempted"))
    assert len(sink.mails) == copies
    assert len(set(sink.ids())) == 1
    assert len(house.entries("page.queued")) == 1
    assert [entry["body"]["accepted"] for entry in house.entries("page.attempted")] == [True]
    assert "NOTIFIED" in house.incident_of()["marks"]
    house.hold_true()


def test_an_operator_is_told_once_that_the_record_is_behind_its_guard(mailed: tuple[House, Sink]) -> None:
    house, sink = mailed
    old = house.root / "backup.db"
    shutil.copyfile(house.workspace.ledger, old)
    node = house.node()
    house.agent().write("c1")
    house.end(node)
    shutil.copyfile(old, house.workspace.ledger)
    sink.start()
    for _ in range(2):  # nodes start on demand: the second has nothing new to say
        node = house.node()
        await_true(lambda: sink.mails)
        house.ask("status")
        house.end(node)
    assert len(sink.mails) == 1
    text = " ".join(plain(sink.mails[0]).split())
    assert "read-only" in sink.mails[0]["Subject"]
    assert "its guard has signed" in text
    assert house.workspace.origin() in text


@pytest.mark.slow
def test_a_page_waits_for_a_mail_server_that_is_down_and_tells_the_owner_once_it_is_up(
    mailed: tuple[House, Sink],
) -> None:
    house, sink = mailed
    house.node(crashing=True)
    house.suspend()
    first = await_true(lambda: house.entries("page.attempted"))[0]["body"]
    assert not first["accepted"]
    assert first["next_due_us"] is not None
    sink.start()
    await_true(lambda: sink.mails, 20)
    await_true(lambda: len(house.entries("page.attempted")) == 2)
    assert house.entries("page.attempted")[1]["body"]["attempt"] == 2
    assert sink.mails[0]["To"] == "anna@example.org"
    assert len(sink.mails) == 1


def test_the_mail_carries_a_checkpoint_that_verifies_and_convicts_a_ledger_that_was_cut(
    mailed: tuple[House, Sink], tmp_path: Path
) -> None:
    house, sink = mailed
    sink.start()
    node = house.node(crashing=True)
    house.suspend()
    await_true(lambda: sink.mails)
    house.end(node)
    kept = tmp_path / "mail.txt"
    kept.write_text(sink.texts()[0])
    assert verify_workspace(house.workspace.path, checkpoints=[kept]).ok
    connection = sqlite3.connect(house.workspace.ledger)
    connection.execute("DELETE FROM entry WHERE seq >= (SELECT max(seq) FROM entry) - 20")
    connection.commit()
    connection.close()
    assert not verify_workspace(house.workspace.path, checkpoints=[kept]).ok


@pytest.mark.parametrize(("side", "asked"), [("before", 1), ("after", 2)])
def test_a_node_killed_as_somebody_else_is_asked_has_asked_them_whole_or_not_at_all(
    mailed: tuple[House, Sink], side: str, asked: int
) -> None:
    """Attack: a step without its pages, or a page of a step that was never taken."""
    house, sink = mailed
    sink.start()
    node = house.node(crashing=True)
    house.suspend()
    before = house.ask("escalation", 1)
    node.plan_strike("commit:escalation.stepped", side)
    details = o.IncidentEscalate(incident=1, reason="I am on a train")
    with pytest.raises(FailwellError):
        house.hand("anna").write("incident.escalate", None, lambda digest: details)
    assert node.process.wait(10) == -signal.SIGKILL
    house.hang_up()
    house.node(crashing=True)
    now = house.ask("escalation", 1)
    steps = [(entry["body"]["step"], entry["body"]["round"]) for entry in house.entries("escalation.stepped")]
    pages = [entry["body"] for entry in house.entries("page.queued")]
    assert len(steps) == len(set(steps)) == asked
    assert {(page["step"], page["round"]) for page in pages} == set(steps)
    assert (now["next"] == before["next"]) is (side == "before")
    if side == "before":
        house.hand("anna").write("incident.escalate", None, lambda digest: details)
    queued = {entry["body"]["page"] for entry in house.entries("page.queued")}
    await_true(lambda: {entry["body"]["page"] for entry in house.entries("page.attempted")} == queued)
    house.hold_true()


# ---- release -----------------------------------------------------------------------------------------------------


@pytest.fixture
def suspended(mailed: tuple[House, Sink]) -> House:
    """An agent that bert has suspended; its owner was told."""
    house, sink = mailed
    sink.start()
    house.node(crashing=True)
    assert house.suspend(person="bert").confirmed
    await_true(lambda: "NOTIFIED" in house.incident_of()["marks"])
    return house


def propose(house: House, person: str) -> object:
    evidence = (house.entries("order")[-1]["seq"],)
    return house.hand(person).propose_release(1, "refund-bot", "the tool was mended", evidence)


def test_a_release_waits_for_acknowledgment_and_takes_two_who_are_not_who_suspended(suspended: House) -> None:
    house = suspended
    with pytest.raises(Refused, match="ACKNOWLEDGED"):
        propose(house, "anna")
    house.hand("anna").acknowledge(1)
    with pytest.raises(Refused, match="no release is proposed"):
        house.hand("cleo").approve_release(1, "refund-bot")
    propose(house, "anna")
    with pytest.raises(Refused, match="proposed"):
        house.hand("anna").approve_release(1, "refund-bot")
    with pytest.raises(Refused, match="suspended this agent"):
        house.hand("bert").approve_release(1, "refund-bot")
    assert house.agent().write("not-yet")["verdict"]["clauses"] == ["authority.suspended"]
    house.hand("cleo").approve_release(1, "refund-bot")
    caller = house.agent()
    assert caller.write("released")["result"]["state"] == "completed"
    told = caller.act({"customer": "c1"}, tool="note.send")["verdict"]
    assert (told["verdict"], told["clauses"]) == ("ESCALATE", ["authority.restricted"]), "PROBATION tightens"
    assert house.entries("authority.changed", "refund-bot")[-1]["body"]["now"] == "PROBATION"
    house.hold_true(caller.acks)


def test_a_released_agent_that_fails_again_is_a_new_case_with_its_own_page(suspended: House) -> None:
    house = suspended
    house.hand("anna").acknowledge(1)
    propose(house, "anna")
    house.hand("cleo").approve_release(1, "refund-bot")
    house.agent().write("trip")
    await_true(lambda: house.ask("status")["suspended"] == ["refund-bot"])
    assert house.incident_of()["number"] == 2
    assert {"SUSPENDED", "HELD"} <= house.incident_of()["marks"].keys()
    await_true(lambda: "NOTIFIED" in house.incident_of()["marks"])
    assert len(house.entries("page.queued")) == 2
    with pytest.raises(FailwellError):
        house.hand("bert").approve_release(1, "refund-bot")
    assert house.ask("status")["suspended"] == ["refund-bot"], "an old case does not undo a new suspension"
    house.hold_true()


def test_an_order_is_good_once_and_only_over_what_was_seen(suspended: House) -> None:
    house = suspended
    wire = house.caller(None).wire
    taken = house.hand("anna").sign("incident.acknowledge", o.IncidentAcknowledge(incident=1))
    wire.call("order", orders=[powers.as_fields(taken)], timeout_s=5)
    with pytest.raises(Refused, match="used before"):
        wire.call("order", orders=[powers.as_fields(taken)], timeout_s=5)

    seq = house.entries("order")[-1]["seq"]
    details = o.ReleasePropose(
        incident=1, agent="refund-bot", authority="PROBATION", conditions="as it was", evidence=(seq,)
    )
    outdated = house.hand("anna").sign("release.propose", details)
    house.adopt("refund-bot", version=2)
    with pytest.raises(Refused, match="something else than stands now"):
        wire.call("order", orders=[powers.as_fields(outdated)], timeout_s=5)
    ahead = o.ReleasePropose(incident=1, agent="refund-bot", authority="PROBATION", conditions="x", evidence=(2**40,))
    with pytest.raises(Refused, match="no entry"):
        house.hand("anna").give("release.propose", ahead)
    assert house.ask("status")["suspended"] == ["refund-bot"]
    assert house.entries("release.proposed") == []


def test_an_order_for_another_ledger_by_a_stranger_or_without_the_role_is_refused(suspended: House) -> None:
    house = suspended
    wire = house.caller(None).wire
    house.hand("anna").acknowledge(1)
    propose(house, "anna")
    stranger = Signer("dora", keys.generate())
    with pytest.raises(Refused, match="not enrolled"):
        powers.Hand(wire, stranger).approve_release(1, "refund-bot")
    details = o.AgentSuspend(agent=house.full("other-bot"), reason="x")
    order = powers.make_order("agent.suspend", "failwell/another", "anna", "0" * 64, details)
    with pytest.raises(Refused, match="for ledger"):
        wire.call("order", orders=[powers.as_fields(sign_order(house.persons["anna"], order))], timeout_s=5)
    with pytest.raises(Refused, match="role"):
        house.register(house.hand("bert"), "new-bot")


def test_one_key_under_two_names_and_somebody_elses_key_are_not_enrolled(suspended: House) -> None:
    house = suspended
    hand, origin = house.hand("anna"), house.workspace.origin()
    double = Signer("bertha", house.persons["bert"].key)
    public = base64.b64encode(double.key.public).decode()
    with pytest.raises(Refused, match="another name"):
        hand.enrol(double, public, prove_enrolment(double, origin), ("approver",), None)
    thief = Signer("dora", keys.generate())
    with pytest.raises(Refused):
        hand.enrol(thief, base64.b64encode(keys.generate().public).decode(), prove_enrolment(thief, origin), (), None)
    anew = Signer("bert", keys.generate())
    public = base64.b64encode(anew.key.public).decode()
    with pytest.raises(Refused, match="already"):
        hand.enrol(anew, public, prove_enrolment(anew, origin), ("approver",), None)


# ---- beside a looping agent --------------------------------------------------------------------------------------


def test_a_looping_agent_beside_the_node_delays_neither_decisions_nor_a_stop(mailed: tuple[House, Sink]) -> None:
    house, _ = mailed
    house.node(crashing=True)
    caller = house.agent()
    running = caller.start("c1", grandchild=True, deaf=True)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: sum(range(1000))"], env=os.environ) for _ in range(3)]
    try:
        for number in range(20):
            assert caller.act({"customer": f"d{number}", "millis": 0}, how="decide")["verdict"]["verdict"] == "ALLOW"
        assert house.suspend(wait_s=5).confirmed
        assert running.result(10)["result"]["state"] == "interrupted_confirmed"
        confirmed = house.entries("interrupt.confirmed")[-1]
        ordered = house.entries("interrupt.ordered")[-1]
        assert confirmed["body"]["ended_mono_us"] - ordered["mono_us"] < 5_000_000
        assert house.alive() == []
    finally:
        for process in busy:
            process.kill()
            process.wait()
    house.hold_true(caller.acks)
