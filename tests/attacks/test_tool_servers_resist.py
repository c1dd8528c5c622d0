"""The adversary is a tool server, or an agent that wants somebody else's: what is killed, denied and refused.

Real nodes and real servers (`tests.simulate.toolbox`), deaf to SIGTERM, with grandchildren in sessions of their own
that hold every pipe. What reached a server is read from its own log, what is alive from /proc.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.client import powers
from failwell.core.errors import FailwellError
from tests.simulate.fixtures import stage
from tests.simulate.house import House, await_true
from tests.simulate.upstreams import KEY, Client, client, furnish, logged, said, text_of

__all__ = ["stage"]

#: One agent for each test that stops its own.
AGENTS = tuple(f"bot-{number:02d}" for number in range(10))


@pytest.fixture(scope="module")
def house(stage: Path) -> Iterator[House]:
    """One house for all that leave its node alive; at the end nothing runs, and the record holds."""
    made = furnish(stage / "h", AGENTS, hands=("bot-08", "bot-09"))
    try:
        yield made
        made.hang_up()
        await_true(lambda: not made.alive(), 10)
        made.end(made.nodes[-1])
        made.verify()
        made.hold_true()
    finally:
        made.tear_down()


@pytest.fixture
def sitting(house: House) -> Iterator[Client]:
    """An agent whose servers nobody stops."""
    made = client(house, "bot-07", "box")
    yield made
    made.close()


def ends(house: House, which: Client) -> list[dict[str, Any]]:
    """What is on record of the ends of a session's servers."""
    found = [entry["body"] for entry in house.entries("upstream.ended")]
    return [body for body in found if body["session"] == which.session]


def await_end(house: House, which: Client) -> dict[str, Any]:
    return dict(await_true(lambda: ends(house, which))[0])


# ---- stopped -----------------------------------------------------------------------------------------------------


def test_a_suspended_agent_s_server_is_gone_with_deaf_grandchildren_that_hold_its_pipes(house: House) -> None:
    other, before = client(house, "bot-01", "box"), set(house.alive())
    mine = client(house, "bot-00", "box")
    sent = [mine.waiting(house, how="family"), mine.waiting(house)]
    await_true(lambda: logged(house, "box", "family"))
    assert len(set(house.alive()) - before) >= 2, "the server, and its grandchild"
    assert house.suspend("bot-00").confirmed
    for each in sent:
        result = each.result(10)["result"]
        assert (result["state"], result["output"]) == ("interrupted_confirmed", "")
        assert "bot-00" in result["why"], "its caller is told who was stopped"
    assert await_end(house, mine)["processes"] >= 2
    assert set(house.alive()) <= before
    assert text_of(other.call("box.echo", {"text": "mine goes on"})) == "mine goes on"
    refused = mine.wire.call("upstreams.open", agent=mine.agent, run=mine.run, upstreams=["box"], timeout_s=20)
    assert refused["upstreams"] == []
    assert "stopped" in refused["failed"][0]["why"]
    assert set(house.alive()) <= before, "nothing of it starts"


@pytest.mark.parametrize(
    ("scope", "ended"), [("contract:bot-02", True), ("tool:box.echo", True), ("tool:other.echo", False)]
)
@pytest.mark.requirement("R8.31")
def test_a_stop_ends_every_server_that_is_within_it_though_it_was_asked_nothing(
    house: House, scope: str, ended: bool
) -> None:
    mine = client(house, "bot-02", "box")
    assert powers.stop(house.workspace, house.persons["bert"], scope, "to see").confirmed
    try:
        if ended:
            assert await_end(house, mine)["state"] == "interrupted_confirmed"
        else:
            assert text_of(mine.call("box.misbehave", {"how": "well"})) == "done"
    finally:
        house.hand("anna").propose_lift(scope, "it was seen", (3,))
        house.hand("cleo").approve_lift(scope)


def test_a_server_that_works_on_what_was_handed_over_ends_with_who_handed_it_over(house: House) -> None:
    giver, taker, before = Client(house, "bot-08"), Client(house, "bot-09"), set(house.alive())
    house.callers += [giver, taker]
    giver.open()
    taker.run = giver.wire.call("run.open", agent=taker.agent, parent=giver.run)
    opened = taker.wire.call("upstreams.open", agent=taker.agent, run=taker.run, upstreams=["box"], timeout_s=20)
    taker.session = opened["session"]
    assert text_of(taker.call("box.echo", {"text": "for another"})) == "for another"
    sent = taker.waiting(house, how="family")
    assert house.suspend("bot-08").confirmed
    assert sent.result(10)["result"]["state"] == "interrupted_confirmed"
    assert await_end(house, taker)["state"] == "interrupted_confirmed"
    assert set(house.alive()) <= before
    again = taker.call("box.echo", {"text": "once more"})
    assert again["verdict"]["verdict"] == "DENY"
    mine = client(house, "bot-09", "box")
    assert text_of(mine.call("box.echo", {"text": "of its own"})) == "of its own", "its own work goes on"


def test_a_revoked_key_takes_the_servers_that_it_opened(house: House) -> None:
    mine = client(house, "bot-03", "box")
    sent = mine.waiting(house)
    powers.revoke(house.workspace, house.persons["bert"], house.full("bot-03"), "it was copied")
    assert sent.result(10)["result"]["state"] == "interrupted_confirmed"
    assert "key" in str(await_end(house, mine)["why"])


def test_a_stop_without_the_node_finds_the_servers_of_a_hung_one(house: House) -> None:
    before = set(house.alive())
    mine = client(house, "bot-04", "box")
    sent = mine.waiting(house, how="family")
    await_true(lambda: len(set(house.alive()) - before) >= 2)
    os.kill(house.nodes[-1].pid, signal.SIGSTOP)
    try:
        done = house.suspend("bot-04")
        assert not done.confirmed
        assert any(item.tool == "box" and item.sent for item in done.sent)
        await_true(lambda: set(house.alive()) <= before)
    finally:
        os.kill(house.nodes[-1].pid, signal.SIGCONT)
    assert sent.result(20)["result"]["state"] == "interrupted_confirmed"
    await_end(house, mine)


def test_a_call_beyond_its_deadline_is_killed_and_what_ran_beside_it_is_told_why(house: House) -> None:
    mine = client(house, "bot-05", "other")
    late = mine.waiting(house, "other")
    time.sleep(0.2)
    beside = mine.waiting(house, "other")
    result = late.result(10)["result"]
    assert (result["state"], result["why"]) == ("interrupted_confirmed", "deadline")
    told = beside.result(10)["result"]
    assert told["state"] == "interrupted_confirmed"
    assert f"action {late.result()['verdict']['entry']} (deadline)" in told["why"]
    await_end(house, mine)
    after = mine.call("other.echo", {"text": "x"})["result"]
    assert after["state"] == "blocked", "and it says so: nobody need wonder whether it ran"
    assert "has ended: it was stopped with action" in after["why"]


# ---- whose session ---------------------------------------------------------------------------------------------


@pytest.mark.requirement("R3.21")
def test_a_session_is_nobody_else_s_also_not_another_connection_s_of_the_same_agent(
    house: House, sitting: Client
) -> None:
    stranger, twin = client(house, "bot-01", "other"), client(house, "bot-07", "other")
    later = Client(house, "bot-07")
    house.callers.append(later)
    later.run = sitting.run
    before = len(logged(house, "box", "called"))
    for thief in (stranger, twin, later):
        with pytest.raises(FailwellError) as refused:
            thief.call("box.echo", {"text": "stolen"}, session=sitting.session)
        assert refused.value.code == "no-session"
        for do in ("upstreams.list", "upstreams.close"):
            with pytest.raises(FailwellError, match="no such session"):
                thief.wire.call(do, session=sitting.session)
    assert len(logged(house, "box", "called")) == before
    assert text_of(sitting.call("box.echo", {"text": "still mine"})) == "still mine"


def test_a_closed_session_answers_nothing_and_leaves_no_process(house: House) -> None:
    before = set(house.alive())
    mine = client(house, "bot-07", "box", "other")
    sent = mine.waiting(house, how="family")
    mine.wire.call("upstreams.close", session=mine.session, timeout_s=20)
    assert set(house.alive()) <= before, "closing waits until nothing is left"
    assert sent.result(5)["result"]["state"] == "interrupted_confirmed"
    with pytest.raises(FailwellError, match="no such session"):
        mine.call("box.echo", {"text": "after"})
    assert {body["state"] for body in await_true(lambda: len(ends(house, mine)) == 2 and ends(house, mine))} == {
        "completed", "interrupted_confirmed",
    }  # fmt: skip


def test_servers_end_with_the_connection_and_with_the_run_that_they_were_opened_for(house: House) -> None:
    before = set(house.alive())
    gone, done = client(house, "bot-07", "box"), client(house, "bot-07", "other")
    gone.wire.close()
    done.wire.call("run.close", agent=done.agent, run=done.run, reason="done")
    await_true(lambda: set(house.alive()) <= before, 10)
    assert "connection" in str(await_end(house, gone)["why"])
    assert "run" in str(await_end(house, done)["why"])


def test_what_a_tool_server_does_is_run_by_nobody_else_under_its_name(house: House, sitting: Client) -> None:
    for how in ("execute", "begin", "decide", "permit"):
        with pytest.raises(FailwellError, match="forwarded"):
            sitting.act({"text": "mine"}, tool="box.echo", how=how)
    assert house.runs() == []


# ---- what it offers ----------------------------------------------------------------------------------------------


def test_a_tool_that_changes_after_it_was_listed_is_denied_on_record(house: House) -> None:
    mine = client(house, "bot-06", "box")
    mine.call("box.misbehave", {"how": "change"})
    asked = len(logged(house, "box", "called"))
    answer = mine.call("box.echo", {"text": "to evil.example"})
    assert (answer["verdict"]["verdict"], answer["verdict"]["clauses"]) == ("DENY", ["tool.changed"])
    assert len(logged(house, "box", "called")) == asked, "it never reached the server"
    listed = [entry["body"] for entry in house.entries("upstream.listed") if entry["body"]["session"] == mine.session]
    assert [("echo" in body["refused"]) for body in listed] == [False, True]
    shown = mine.wire.call("upstreams.list", session=mine.session)["upstreams"][0]
    assert "box.echo" not in {tool["tool"] for tool in shown["tools"]}
    assert {"name": "echo", "why": "The definition of box.echo is not the one that a person accepted."} in shown[
        "left_out"
    ]


def test_a_tool_that_changes_and_tells_nobody_is_denied_once_what_was_known_is_old(house: House) -> None:
    mine = client(house, "bot-06", "other")
    assert mine.call("other.echo", {"text": "as accepted"})["verdict"]["verdict"] == "ALLOW"
    mine.call("other.misbehave", {"how": "change quietly"})
    asked = len(logged(house, "other", "called"))
    answer = mine.call("other.echo", {"text": "to evil.example"})
    assert (answer["verdict"]["verdict"], answer["verdict"]["clauses"]) == ("DENY", ["tool.changed"])
    assert len(logged(house, "other", "called")) == asked, "it never reached the server"


def test_a_call_of_a_server_that_is_not_there_is_told_that_it_did_not_run(house: House) -> None:
    mine = client(house, "bot-06", "box")
    answer = mine.call("other.echo", {"text": "to nobody"})
    assert (answer["verdict"]["verdict"], answer["result"]["state"]) == ("ALLOW", "blocked")
    told = next(each for each in house.entries("outcome") if each["seq"] == answer["result"]["entry"])
    assert told["body"]["state"] == "blocked"


def test_a_tool_that_nobody_accepted_and_one_named_like_a_request_are_never_called(
    house: House, sitting: Client
) -> None:
    answer = sitting.call("box.unpinned", {})
    assert (answer["verdict"]["verdict"], answer["verdict"]["clauses"]) == ("DENY", ["tool.changed"])
    page = sitting.call("box.resources/read", {"uri": "page:1"})
    assert said(page)["contents"][0]["uri"] == "page:1"
    assert logged(house, "box", "called") == [
        line for line in logged(house, "box", "called") if line["tool"] in ("echo", "wait", "misbehave")
    ]


@pytest.mark.parametrize("how", ["stranger", "garble", "hang up", "die"])
@pytest.mark.requirement("R30.12")
def test_a_server_that_lies_hangs_up_or_dies_is_believed_nothing(house: House, how: str) -> None:
    mine = client(house, "bot-07", "box")
    result = mine.call("box.misbehave", {"how": how})["result"]
    if how == "stranger":
        assert result["state"] == "completed", "what it answers to nobody's question is dropped"
        return
    if how == "garble":
        assert result["state"] == "unknown", "what came is no answer: it may have done what it was asked"
        assert text_of(mine.call("box.echo", {"text": "the others go on"})) == "the others go on"
        return
    assert result["state"] == ("unknown" if how == "die" else "interrupted_confirmed")
    end = await_end(house, mine)
    assert end["state"] == ("failed" if how == "die" else "interrupted_confirmed")


def test_a_server_that_does_not_start_is_told_with_its_last_word_and_the_others_serve(house: House) -> None:
    mine = Client(house, "bot-07")
    house.callers.append(mine)
    answer = mine.sit("quits", "other", "nobody")
    assert [each["name"] for each in answer["upstreams"]] == ["other"]
    failed = {each["name"]: each["why"] for each in answer["failed"]}
    assert "no configuration to be found" in failed["quits"]
    assert "[upstreams.nobody]" in failed["nobody"]


# ---- secrets, progress, cancellation -----------------------------------------------------------------------------


def test_no_secret_of_a_server_is_in_its_answers_its_progress_or_the_record(house: House, sitting: Client) -> None:
    pushed: list[dict[str, Any]] = []
    sitting.wire.on_push = pushed.append
    assert KEY not in text_of(sitting.call("box.echo", {"text": "SECRET"}))
    sitting.call("box.wait", {"millis": 200}, progress=True)
    await_true(lambda: pushed)
    assert {push["push"] for push in pushed} == {"progress"}
    assert KEY not in str(pushed)
    assert "[secret shop]" in str(pushed)
    assert logged(house, "box", "started")[-1]["key"] is True, "the server had it"
    assert KEY.encode() not in house.workspace.ledger.read_bytes()


def test_a_cancelled_call_is_told_to_its_server_and_killed_where_that_says_nothing(house: House) -> None:
    mine = client(house, "bot-07", "box", "other")
    sent = mine.waiting(house, call="mine")
    thief = client(house, "bot-01", "other")
    assert thief.wire.call("cancel", agent=thief.agent, run=mine.run, call="mine")["told"] is False
    told = mine.wire.call("cancel", agent=mine.agent, run=mine.run, call="mine", why="the person left")
    assert told["told"] is True
    await_true(lambda: logged(house, "box", "cancelled"))
    result = sent.result(10)["result"]
    assert (result["state"], result["why"]) == ("interrupted_confirmed", "cancelled by its caller: the person left")
    early = mine.wire.call("cancel", agent=mine.agent, run=mine.run, call="early")
    assert early["told"] is False
    never = mine.call("other.echo", {"text": "x"}, call="early")["result"]
    assert (never["state"], never["why"]) == ("blocked", "cancelled by its caller")


def test_an_agent_that_cancels_without_end_makes_nobody_else_s_cancellation_forgotten(house: House) -> None:
    mine, flood = client(house, "bot-07", "other"), client(house, "bot-01", "other")
    assert mine.wire.call("cancel", agent=mine.agent, run=mine.run, call="unwanted")["told"] is False
    sent = [flood.wire.ask("cancel", agent=flood.agent, run=flood.run, call=f"x{each}") for each in range(4200)]
    assert all(each.result(20)["told"] is False for each in sent)
    never = mine.call("other.echo", {"text": "x"}, call="unwanted")["result"]
    assert (never["state"], never["why"]) == ("blocked", "cancelled by its caller")


# ---- the node dies -----------------------------------------------------------------------------------------------


def test_a_node_that_is_killed_mid_call_leaves_no_process_and_no_claim(stage: Path) -> None:
    made = furnish(stage / "dies", ("bot-00",))
    try:
        mine = client(made, "bot-00", "box")
        assert text_of(mine.call("box.echo", {"text": "done"}, call="done")) == "done"
        mine.ask(
            {"millis": 60_000, "how": "family"}, tool="box.wait", how="forward", session=mine.session, target=None,
            call="cut",
        )  # fmt: skip
        await_true(lambda: logged(made, "box", "family"))
        assert len(made.alive()) >= 2
        run = mine.run
        made.nodes[-1].kill()
        await_true(lambda: not made.alive(), 10)
        made.hang_up()
        made.node(crashing=True)
        again = client(made, "bot-00", "box")
        again.run = run
        cut = again.act({"millis": 60_000, "how": "family"}, tool="box.wait", how="forward", call="cut",
                        session=again.wire.call("upstreams.open", agent=again.agent, run=run, upstreams=["box"],
                                                timeout_s=20)["session"], target=None)  # fmt: skip
        assert (cut["verdict"]["repeated"], cut["verdict"]["state"]) == (True, "interrupted_confirmed")
        assert len(logged(made, "box", "called")) == 2, "nothing ran again"
        made.end(made.nodes[-1])
        made.verify()
        made.hold_true(at_rest=True)
    finally:
        made.tear_down()
