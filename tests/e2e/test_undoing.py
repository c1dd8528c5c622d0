"""What was stopped on its way is undone: real node, real processes, kill -9, and steps that resist, hang and lie.

One node and one agent a story; stories that kill the node or stop everything come last.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.client import powers
from failwell.core import contract as contracts
from failwell.core import orders as o
from failwell.core.errors import FailwellError
from failwell.identity.persons import Signer
from tests.simulate.fixtures import model
from tests.simulate.house import SPIFFE, House, apply, await_true, scene

STEP = Path(__file__).resolve().parents[1] / "simulate" / "undo.py"
SECRET = "sh0p-key-of-the-operator"
#: What each agent's step does, and how long it may.
HOWS = {
    "bot-00": ("reverses", "20s"), "bot-01": ("reverses", "20s"), "bot-02": ("fails", "20s"),
    "bot-03": ("is silent", "20s"), "bot-04": ("hangs", "1s"), "bot-05": ("resists", "1s"),
    "bot-06": ("undeclared", "20s"), "bot-07": ("hangs long", "20s"), "bot-08": ("hangs once", "20s"),
    "bot-09": ("waits", "20s"), "bot-10": ("hangs long", "20s"), "bot-11": ("hangs long", "20s"),
    "bot-12": ("reverses", "20s"),
}  # fmt: skip
CONTRACT = """
contract: {agent}
version: 2
agent: {spiffe}{agent}
owner: anna
purpose: Write notes to customers.
tools:
  - {{tool: {step}, effect: reversible, custody: none, idempotent: {twice}}}
  - tool: note.{agent}
    effect: reversible
    executor: supervised
    custody: none
    deadline: 20s
    compensate: {{tool: {step}, within: {within}}}
    arguments: {{customer: "id", millis: "int(0..60000)", text?: "string(0..1000000)"}}
"""


def step_of(agent: str) -> str:
    return f"undo.{agent}.{HOWS[agent][0].replace(' ', '-')}"


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with scene() as root:
        house = model().copy(root / "h")
        house.place = root  # type: ignore[attr-defined]
        house.node()
        (root / "shop.key").write_text(SECRET)
        (root / "shop.key").chmod(0o600)
        lines = ["[node]", "idle_s = 0", "[secrets.shop]", f'file = "{root / "shop.key"}"']
        for agent, (how, _) in HOWS.items():
            if how != "undeclared":
                command = json.dumps([sys.executable, "-I", "-S", str(STEP), how, str(root)])
                lines += [f'[tools."{step_of(agent)}"]', f"command = {command}", 'secrets = {SHOP_KEY = "shop"}']
        apply(house, "\n".join(lines))
        for agent, (how, within) in HOWS.items():
            twice = "true" if how == "hangs once" else "false"
            text = CONTRACT.format(spiffe=SPIFFE, agent=agent, step=step_of(agent), within=within, twice=twice)
            made = contracts.load(text, name=agent)
            house.hand("bert").adopt_contract(made, house.hand("anna").sign_contract(made))
        house.hang_up()
        yield house
        house.tear_down()


def told(house: House, agent: str | None = None) -> list[dict[str, Any]]:
    """What steps were told, by their own log."""
    log: Path = house.place / "undone.jsonl"  # type: ignore[attr-defined]
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [line for line in lines if agent is None or line.get("told", {}).get("tool") == f"note.{agent}"]


def stop(house: House, agent: str, **more: Any) -> int:
    """Suspend the agent while its tool runs; the decision."""
    arguments = {"customer": agent, "millis": 60_000, **more}
    answer = house.agent(agent).ask(arguments, tool=f"note.{agent}")
    await_true(lambda: answer.done() or house.began(agent))
    house.suspend(agent)
    return int(answer.result(20)["verdict"]["entry"])


def ended(house: House, decision: int, kind: str = "compensated") -> dict[str, Any]:
    def look() -> Any:
        found = house.ask("entries", decision)
        return next((each for each in found if each["kind"] == kind and each["body"]["decision"] == decision), None)

    found: dict[str, Any] = await_true(look)
    house.hang_up()
    return found


def order(house: House, person: str, agent: str, decision: int, **changed: Any) -> int:
    named = {
        "action": decision, "tool": f"note.{agent}", "step": step_of(agent),
        "contract": house.ask("contract", agent)["digest"], "reason": "it was the wrong customer", **changed,
    }  # fmt: skip
    return int(house.hand(person).give("action.compensate", o.ActionCompensate(**named)))


def stop_scope(house: House, scope: str) -> None:
    house.hand("cleo").give("stop", o.StopScope(scope=scope, reason="nothing of it moves"))


def stopped(house: House, scope: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in house.ask("stops") if each["scope"] == scope)
    return found


def lift(house: House, scope: str) -> None:
    epoch = stopped(house, scope)["epoch"]
    details = o.LiftPropose(scope=scope, epoch=epoch, conditions="looked", evidence=(1,))
    house.hand("anna").give("stop.propose", details)
    proposal = stopped(house, scope)["proposal"]
    house.hand("bert").give("stop.lift", o.LiftApprove(scope=scope, epoch=epoch, proposal=proposal))


def test_an_action_that_was_stopped_is_undone_though_its_agent_is_suspended(house: House) -> None:
    decision = stop(house, "bot-00")
    body = ended(house, decision)["body"]
    assert (body["state"], body["exit_code"], body["step"]) == ("reversed", 0, step_of("bot-00"))
    (line,) = told(house, "bot-00")
    origin, asked = house.workspace.origin(), line["told"]
    assert (asked["action"], asked["state"], asked["try"]) == (f"{origin}/{decision}", "interrupted_confirmed", 1)
    assert asked["arguments"]["customer"] == "bot-00"
    assert line["marker"] == f"{origin}/{ended(house, decision, 'compensation.begun')['seq']}"
    # The secret is the step's alone: not the record's, though the step repeats it.
    assert line["secret"] == SECRET
    assert SECRET not in json.dumps(house.ask("entries", decision))
    assert house.ask("agents")[house.full("bot-00")]["authority"] == "SUSPENDED"
    (told_of,) = house.ask("incident", house.incident_of("bot-00")["number"])["undoings"]
    assert (told_of["action"], told_of["state"], told_of["by"]) == (decision, "reversed", "interrupt")


def test_a_megabyte_of_arguments_reaches_the_step_whole(house: House) -> None:
    decision = stop(house, "bot-01", text="x" * 1_000_000)
    assert ended(house, decision)["body"]["state"] == "reversed"
    assert told(house, "bot-01")[0]["bytes"] > 1_000_000


def test_a_step_that_fails_hangs_resists_or_lies_is_told_as_what_it_is(house: House) -> None:
    expected = {
        "bot-02": ("not", "ended with 3"), "bot-03": ("unknown", "did not say"),
        "bot-04": ("unknown", "stopped on its way"), "bot-05": ("unknown", "stopped on its way"),
        "bot-06": ("not", f"no setting declares {step_of('bot-06')}"),
    }  # fmt: skip
    decisions = {agent: stop(house, agent) for agent in expected}
    for agent, (state, why) in expected.items():
        found = ended(house, decisions[agent])
        assert found["body"]["state"] == state, found
        assert why in found["body"]["detail"], found
        after = [each["body"] for each in house.ask("entries", found["seq"])]
        assert any(body.get("signal") == f"compensate(note.{agent})" for body in after), agent
        assert any(body.get("person") == "anna" and why in str(body.get("why")) for body in after), agent
    assert any(line["how"] == "forked" for line in told(house))
    assert await_true(lambda: not house.alive()) is True


def test_a_person_has_a_completed_action_undone_once_and_nobody_with_anothers_key(house: House) -> None:
    answer = house.agent("bot-12").act({"customer": "c-1", "millis": 0}, tool="note.bot-12")
    decision = int(answer["verdict"]["entry"])
    with pytest.raises(FailwellError, match="the order says otherwise"):
        order(house, "anna", "bot-12", decision, step=step_of("bot-00"))
    contract = house.ask("contract", "bot-12")["digest"]
    details = o.ActionCompensate(
        action=decision, tool="note.bot-12", step=step_of("bot-12"), contract=contract, reason="x"
    )
    with pytest.raises(FailwellError, match=r"signature|key"):
        powers.Hand(house.caller(None).wire, Signer("bert", house.persons["anna"].key)).give(
            "action.compensate", details
        )
    assert told(house, "bot-12") == []
    order(house, "anna", "bot-12", decision)
    assert ended(house, decision)["body"]["state"] == "reversed"
    (line,) = told(house, "bot-12")
    assert (line["told"]["state"], json.loads(line["told"]["result"])) == ("completed", {"wrote": "c-1"})
    with pytest.raises(FailwellError, match="is reversed"):
        order(house, "anna", "bot-12", decision)
    assert len(told(house, "bot-12")) == 1


def test_a_node_that_dies_leaves_each_undoing_where_it_stood(house: House) -> None:
    """kill -9: a step that ran is unknown and not run again, unless that does no harm; one that was only owed runs."""
    waits = f"tool:{step_of('bot-09')}"
    stop_scope(house, waits)
    ran, twice, owed = (stop(house, agent) for agent in ("bot-07", "bot-08", "bot-09"))
    await_true(lambda: told(house, "bot-07") and told(house, "bot-08"))
    ended(house, owed, "compensation.ordered")
    house.nodes[-1].kill()
    house.hang_up()
    house.node()
    found = ended(house, ran)["body"]
    assert (found["state"], found["exit_code"]) == ("unknown", None)
    assert "its node ended while" in found["detail"]
    assert ended(house, twice)["body"]["state"] == "reversed"
    assert [line["told"]["try"] for line in told(house, "bot-08")] == [1, 2]
    assert told(house, "bot-09") == []
    lift(house, waits)
    assert ended(house, owed)["body"]["state"] == "reversed"
    assert (len(told(house, "bot-07")), len(told(house, "bot-09"))) == (1, 1)


@pytest.mark.requirement("R8.17")
def test_a_stop_of_everything_stops_a_step_that_runs(house: House) -> None:
    decision = stop(house, "bot-10")
    await_true(lambda: told(house, "bot-10"))
    assert [(each["action"], each["state"], each["running"]) for each in house.ask("undoings")] == [
        (decision, "begun", True)
    ]
    stop_scope(house, "all")
    found = ended(house, decision)["body"]
    assert (found["state"], found["exit_code"]) == ("unknown", None)
    assert found["elapsed_us"] < 15_000_000  # by itself it had 20 s
    lift(house, "all")
    house.hang_up()


def test_a_node_that_is_stopped_in_good_order_leaves_no_step_behind(house: House) -> None:
    decision = stop(house, "bot-11")
    await_true(lambda: told(house, "bot-11"))
    house.hang_up()
    assert house.nodes[-1].stop() == 0, house.nodes[-1].said()
    assert house.alive() == []
    found = house.entries("compensated")[-1]["body"]
    assert (found["decision"], found["state"]) == (decision, "unknown")
    house.verify()
