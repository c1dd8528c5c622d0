"""What a host says of its agents: recorded as its word, about their own decisions, and never anybody else's."""

from __future__ import annotations

from typing import Any

import pytest

from failwell.core import kinds
from failwell.core.errors import InputError, NotFound, Refused
from failwell.core.records import Draft
from failwell.gate.noticing import Notice, notice
from failwell.verify.finding import Report
from tests.unit.gate.house import AGENT, OTHER, RULES, House, contract_text
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, Image, replace

OFF = Notice(notice="answer-off-topic", severity="major", words="It told Ms Doe about a stranger's order.")


def a_house() -> House:
    house = House()
    house.write(Draft(body=kinds.ResponseRules(version=2), actor="node"))
    house.people()
    house.register()
    house.adopt(contract_text(RULES))
    key = house.state.agent[AGENT].key or ""
    house.write(Draft(body=kinds.HostRegistered(host="shop", key=key, agents=(AGENT,)), actor="person:olga"))
    return house


def test_what_a_host_says_opens_a_case_dated_at_what_it_is_about_and_its_words_stand_in_no_entry() -> None:
    house = a_house()
    run = house.run()
    decisions = [house.ask(run).entry for _ in range(3)]
    said = Notice(notice=OFF.notice, severity="major", words=OFF.words, actions=(decisions[2], decisions[1]))
    entry = house.do(notice("shop", "refund-bot", said))
    body = house.entries(entry)[0].body
    assert isinstance(body, kinds.Noticed)
    assert (body.by, body.evidence, body.first, body.last) == ("host:shop", "asserted", decisions[1], decisions[2])
    assert house.secret(entry)["text"] == OFF.words
    assert b"Ms Doe" not in b"".join(row.data for row in house.storage.entries(0, 1000))
    assert house.state.incident[1].onset_first == decisions[1]
    assert house.agent().authority == "ACTIVE"


@pytest.mark.requirement("R5.10")
def test_a_host_speaks_for_its_own_agents_alone() -> None:
    house = a_house()
    house.register(OTHER)
    house.adopt(contract_text(RULES, agent=OTHER))
    theirs = house.decide(house.proposal(house.run(OTHER), agent=OTHER)).entry
    size = house.state.size
    with pytest.raises(Refused, match="does not speak for"):
        house.do(notice("shop", OTHER, OFF))
    with pytest.raises(Refused, match="does not speak for"):
        house.do(notice("stranger", AGENT, OFF))
    with pytest.raises(NotFound, match="no agent"):
        house.do(notice("shop", "nobody-bot", OFF))
    for about in (theirs, 3, 10**9, -1):  # another's decision, no decision, none yet
        with pytest.raises(Refused, match="is no decision about"):
            house.do(notice("shop", AGENT, Notice(notice="off", actions=(about,))))
    with pytest.raises(InputError, match="at most"):
        notice("shop", AGENT, Notice(notice="off", words="x" * 20_001))
    assert house.state.size == size


# ---- in the record -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    path = tmp_path_factory.mktemp("noticed") / "w"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
        made.write(Draft(body=kinds.ResponseRules(version=2), actor="node"))
        decision = made.refund(made.run(), "c1", "A-1").entry
        made.do(notice("shop", ledgers.AGENT, Notice(notice="off", severity="major", actions=(decision,))))
    return Image(path)


def changed(image: Image, what: Any) -> Report:
    forger = Forger(image)
    entry = next(each for each in forger.entries() if isinstance(each.body, kinds.Noticed))
    forger.change(entry.seq, what, resign=True)
    return forger.verify()


def says(report: Report, part: str) -> bool:
    return any(part in finding.message for finding in report.findings)


def test_what_a_host_said_verifies(image: Image) -> None:
    report = Forger(image).verify()
    assert report.ok, report.findings


@pytest.mark.requirement("R5.12")
def test_a_word_that_nobody_said_who_may_is_found(image: Image) -> None:
    """Attack: whoever keeps the record slips in a word against an agent, so that it is stopped."""

    def by(name: str, actor: str) -> Any:
        return lambda entry: replace(entry, actor=actor, body=replace(entry.body, by=name))

    assert says(changed(image, by("host:stranger", "host:stranger")), "is no host that speaks for")
    assert says(changed(image, by("host:shop", "node")), "is no host that speaks for")
    assert says(changed(image, by("detector:drift", "detector:drift")), "is no host that speaks for")
    assert says(changed(image, by("person:olga", "person:olga")), "no order incident.report stands before it")


@pytest.mark.parametrize(
    ("fields", "says_so"),
    [
        ({"evidence": "proven"}, "more than a host can"),
        ({"kind": "drill"}, "more than a host can"),
        ({"first": 1}, "other entries than it cites"),
        ({"severity": "critical"}, "is not what follows from entry"),
        ({"signal": "other"}, "is not what follows from entry"),
    ],
)
@pytest.mark.requirement("R5.11")
def test_a_word_that_was_changed_is_found(image: Image, fields: dict[str, Any], says_so: str) -> None:
    assert says(changed(image, lambda entry: replace(entry, body=replace(entry.body, **fields))), says_so)
