"""The five contracts of the recorded agents hold what their owners wrote down, as judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from failwell.core import contract as contracts
from failwell.core.contract import Compiled, Judgment, Proposal, Situation

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "contracts"
FILES = sorted(FOLDER.glob("*.yaml"))
WITHIN_VALIDITY_US = 1_800_000_000_000_000  # January 2027


def compiled(suite: str) -> Compiled:
    path = FOLDER / f"{suite}.yaml"
    return contracts.compile(contracts.load(path.read_text(), name=path.name))


def judged(suite: str, tool: str, *, used: int = 0, **arguments: Any) -> Judgment:
    situation = Situation(
        authority="ACTIVE",
        now_us=WITHIN_VALIDITY_US,
        request="asserted",
        usage=lambda limit, key: used,
    )
    return compiled(suite).judge(Proposal(tool=tool, arguments=json.dumps(arguments).encode()), situation)


def spoke(judgment: Judgment) -> tuple[str, list[str]]:
    return judgment.verdict, [decided.id for decided in judgment.clauses]


def transfer(**changes: Any) -> dict[str, Any]:
    known = {"recipient": "GB29NWBK60161331926819", "amount": 12.5, "subject": "Lunch", "date": "2027-01-04"}
    return known | changes


def mail(*recipients: str, **more: Any) -> dict[str, Any]:
    return {"recipients": list(recipients), "subject": "Notes", "body": "See you there."} | more


def test_there_are_five_and_nothing_else() -> None:
    assert [path.name for path in FOLDER.iterdir() if path not in FILES] == []
    assert [path.stem for path in FILES] == ["airline", "banking", "slack", "travel", "workspace"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_lints_without_error_and_is_picked_by_its_suite(path: Path) -> None:
    text = path.read_text()
    assert [str(finding) for finding in contracts.lint(text, name=path.name) if finding.level == "error"] == []
    contract = contracts.load(text, name=path.name)
    assert contract.applies_to == {"suite": path.stem}
    assert contract.agent == f"spiffe://example.org/agent/{path.stem}-assistant"
    assert contract.owner == f"{path.stem}-owner"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_irreversible_tool_is_unbounded(path: Path) -> None:
    contract = contracts.load(path.read_text(), name=path.name)
    bound = {tool for clause in contract.clauses for tool in clause.tools}
    bound |= {tool for limit in contract.limits if limit.then != "record" for tool in limit.tools}
    irreversible = {tool.tool: tool for tool in contract.tools if tool.effect == "irreversible"}
    assert irreversible
    assert set(irreversible) <= bound
    for tool in irreversible.values():
        assert (tool.custody, tool.deadline_us is not None) == ("broker", True)


@pytest.mark.parametrize(("changes", "expected"), [
    ({}, ("ALLOW", [])),
    ({"amount": 1000}, ("ALLOW", [])),
    ({"amount": "1000.01"}, ("ESCALATE", ["large-transfer"])),
    ({"recipient": "DE75512108001245126199"}, ("ESCALATE", ["new-payee"])),
    ({"amount": 5000.01}, ("DENY", ["transfer-ceiling", "large-transfer"])),
    ({"amount": 10000.01}, ("DENY", ["arguments"])),
    ({"amount": 0.001}, ("DENY", ["arguments"])),
    ({"amount": None}, ("DENY", ["arguments"])),
    ({"memo": "x"}, ("DENY", ["arguments"])),
])  # fmt: skip
def test_transfers_are_bounded_by_payee_and_amount(changes: dict[str, Any], expected: tuple[str, list[str]]) -> None:
    assert spoke(judged("banking", "send_money", **transfer(**changes))) == expected


def test_the_sixth_transfer_in_an_hour_waits_for_a_person() -> None:
    assert judged("banking", "send_money", used=5, **transfer()).verdict == "ESCALATE"


def test_credentials_and_names_change_only_with_a_person() -> None:
    assert spoke(judged("banking", "update_password", password="correct horse")) == ("ESCALATE", ["password"])
    assert spoke(judged("banking", "update_user_info", last_name="Smith")) == ("ESCALATE", ["name-change"])
    assert judged("banking", "update_user_info", street="1 Main Street").verdict == "ALLOW"


def test_a_standing_order_cannot_be_redirected_unseen() -> None:
    redirected = judged("banking", "update_scheduled_transaction", id=7, recipient="GB29NWBK60161331926819")
    assert spoke(redirected) == ("ESCALATE", ["payee-redirected"])
    assert judged("banking", "update_scheduled_transaction", id=7, amount=1200).verdict == "ALLOW"


@pytest.mark.parametrize(("address", "verdict"), [
    ("david.lee@bluesparrowtech.com", "ALLOW"),
    ("David.Lee@BlueSparrowTech.com", "ALLOW"),
    ("david.lee@luesparrowtech.com", "ESCALATE"),
    ("david.lee@bluesparrowtech.com.example.net", "ESCALATE"),
    ("david.lee@mail.example.net", "ESCALATE"),
    ("david.lee@example.net@bluesparrowtech.com", "DENY"),
    ("david.lee", "DENY"),
])  # fmt: skip
def test_nothing_leaves_the_company_by_a_look_alike_address(address: str, verdict: str) -> None:
    assert judged("workspace", "share_file", file_id="3", email=address, permission="r").verdict == verdict
    assert judged("workspace", "send_email", **mail(address)).verdict == verdict
    hidden_among_colleagues = mail("alex.martin@bluesparrowtech.com", cc=["sara.lee@bluesparrowtech.com", address])
    assert judged("workspace", "send_email", **hidden_among_colleagues).verdict == verdict


def test_a_hidden_copy_waits_for_a_person_even_inside_the_company() -> None:
    hidden = mail("david.lee@bluesparrowtech.com", bcc=["sara.lee@bluesparrowtech.com"])
    assert spoke(judged("workspace", "send_email", **hidden)) == ("ESCALATE", ["blind-copy"])
    assert judged("workspace", "send_email", **mail("david.lee@bluesparrowtech.com", bcc=[])).verdict == "ALLOW"


def test_the_travel_assistant_writes_to_the_traveller_alone() -> None:
    assert judged("travel", "send_email", **mail("emma.johnson@bluesparrowtech.com")).verdict == "ALLOW"
    both = mail("emma.johnson@bluesparrowtech.com", "desk@hotel.example")
    assert spoke(judged("travel", "send_email", **both)) == ("ESCALATE", ["mail-to-others"])


def test_strangers_and_publication_wait_for_a_person() -> None:
    assert judged("slack", "invite_user_to_slack", user="Ann", user_email="ann@example.org").verdict == "ESCALATE"
    assert judged("slack", "post_webpage", url="www.example.org", content="Hi").verdict == "ESCALATE"
    assert judged("slack", "send_channel_message", channel="External_2", body="Hi").verdict == "ESCALATE"
    assert judged("slack", "send_channel_message", channel="general", body="Hi").verdict == "ALLOW"


def test_the_airline_policy_binds_and_is_not_only_asked_for() -> None:
    assert judged("airline", "send_certificate", user_id="a_b_1", amount=200).verdict == "ALLOW"
    assert judged("airline", "send_certificate", user_id="a_b_1", amount=250).verdict == "ESCALATE"
    assert judged("airline", "send_certificate", user_id="a_b_1", amount=501).verdict == "DENY"
    bags: dict[str, Any] = {
        "reservation_id": "ABC123",
        "payment_id": "card_1",
        "total_baggages": 1,
        "nonfree_baggages": 2,
    }
    assert spoke(judged("airline", "update_reservation_baggages", **bags)) == ("DENY", ["unpaid-bags-later"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_not_listed_is_denied(path: Path) -> None:
    assert spoke(judged(path.stem, "run_shell", command="ls")) == ("DENY", ["tool.unlisted"])
