"""The path of escalation in a contract: what it says is read, what nobody would be asked by is refused."""

from __future__ import annotations

import pytest

from failwell.core import contract as contracts
from failwell.core.contract.diff import diff
from failwell.core.errors import ContractError
from tests.unit.core.contract.contracts import REFUND_BOT

ONE = "  - {notify: owner, by: [email]}\n"
PATH = """\
  - {notify: owner, by: [email, pager], ack_within: 5m}
  - {notify: "team:payments", ack_within: 10m, repeat: 2, require: 2, severity: major, hours: "Mon-Fri 08:00-18:00"}
  - {notify: "role:operator", by: [email], last_resort: true}
"""


def path(text: str) -> str:
    assert ONE in REFUND_BOT
    return REFUND_BOT.replace(ONE, text)


def findings(text: str) -> list[tuple[str, str]]:
    return [(each.level, str(each)) for each in contracts.lint(path(text), name="test.yaml")]


def test_every_field_of_a_step_is_read() -> None:
    assert contracts.load(path(PATH), name="x").escalation == (
        contracts.Step(notify="owner", by=("email", "pager"), ack_within_us=300_000_000),
        contracts.Step(
            notify="team:payments", by=("email",), ack_within_us=600_000_000, repeat=2, require=2, severity="major",
            hours="Mon-Fri 08:00-18:00",
        ),
        contracts.Step(notify="role:operator", by=("email",), last_resort=True),
    )  # fmt: skip
    assert findings(PATH) == []


@pytest.mark.requirement("R12.5")
def test_what_is_not_said_of_a_step_changes_no_digest_of_an_older_contract() -> None:
    """Attack: a release whose contracts have other digests for the same words has everything adopted anew."""
    text = contracts.to_canonical(contracts.load(REFUND_BOT, name="x")).decode()
    assert '"escalation":[{"by":["email"],"notify":"owner"}]' in text
    again = contracts.load(path(ONE.replace("}", ", repeat: 0, require: any, severity: minor}")), name="x")
    assert contracts.to_canonical(again).decode() == text
    for field in ('"require":"any"', '"hours":""', '"repeat":0', '"severity":"minor"', '"last_resort":false'):
        with pytest.raises(ContractError, match="stands for nothing"):
            contracts.from_canonical(_with(text, field).encode())


def _with(text: str, field: str) -> str:
    """The canonical text, with a field of its step written out."""
    fields = sorted(('"by":["email"]', '"notify":"owner"', field))
    return text.replace('{"by":["email"],"notify":"owner"}', "{" + ",".join(fields) + "}")


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("{notify: anna}", "notify names nobody"),
        ('{notify: "team:"}', "notify names nobody"),
        ('{notify: "role:operater"}', "Did you mean operator?"),
        ("{notify: owner, by: []}", "channels are not clear"),
        ("{notify: owner, by: [email, email]}", "channels are not clear"),
        ("{notify: owner, by: ['x y']}", "not well formed"),
        ("{notify: owner, ack_within: 8d}", "ack_within is out of range"),
        ("{notify: owner, ack_within: soon}", "ack_within is wrong"),
        ("{notify: owner, repeat: 21}", "repeat is out of range"),
        ("{notify: owner, repeat: -1}", "repeat is out of range"),
        ("{notify: owner, require: 0}", "require is out of range"),
        ("{notify: owner, require: most}", "require cannot be"),
        ("{notify: owner, require: true}", "require cannot be"),
        ('{notify: owner, hours: "9 to 5"}', "hours is wrong"),
        ('{notify: owner, hours: "25:00-26:00"}', "hours is wrong"),
        ("{notify: owner, severity: huge}", "severity cannot be"),
        ('{notify: owner, last_resort: true, hours: "08:00-18:00"}', "The last resort keeps to no hours"),
        ("{notify: owner, last_resort: true, severity: major}", "The last resort keeps to no severity"),
        ("{last_resort: head-of-support}", "last_resort is not true or false"),
        ("{notify: owner, ack_in: 5m}", 'unknown field "ack_in"'),
    ],
)
def test_a_step_that_would_ask_nobody_or_something_else_is_refused(step: str, said: str) -> None:
    errors = [text for level, text in findings(f"  - {step}\n") if level == "error"]
    assert any(said in text for text in errors), errors


@pytest.mark.requirement("R12.4")
def test_a_step_behind_the_last_resort_is_refused_since_it_is_never_reached() -> None:
    found = findings("  - {notify: owner, last_resort: true}\n" + ONE)
    assert [(level, "never reached" in text) for level, text in found] == [("error", True)]


@pytest.mark.parametrize(
    ("first", "second", "idle"),
    [
        ("notify: owner, by: [email, pager]", "notify: owner, by: [pager]", True),
        ("notify: owner", "notify: owner, severity: major", True),
        ("notify: owner, severity: major", "notify: owner", False),
        ('notify: owner, hours: "08:00-18:00"', "notify: owner", False),
        ("notify: owner", "notify: owner, by: [pager]", False),
        ("notify: owner", 'notify: "person:anna"', False),
    ],
)
def test_a_step_that_asks_nobody_new_is_pointed_out(first: str, second: str, idle: bool) -> None:
    found = findings(f"  - {{{first}}}\n  - {{{second}}}\n")
    assert [(level, "asks nobody new" in text) for level, text in found] == ([("warning", True)] if idle else [])


def test_two_cannot_take_what_one_person_is_asked() -> None:
    assert "2 cannot take it" in findings("  - {notify: owner, require: 2}\n")[0][1]


def test_a_path_longer_than_anybody_would_wait_for_is_refused() -> None:
    steps = "".join(f'  - {{notify: "person:p{number}"}}\n' for number in range(17))
    assert "too many steps" in findings(steps)[0][1]


def test_the_difference_of_two_paths_is_told_and_takes_a_person_to_weigh() -> None:
    old, new = contracts.load(REFUND_BOT, name="x"), contracts.load(path(PATH), name="x")
    (change,) = diff(old, new)
    assert (change.means, change.about) == ("unclear", "escalation")
    assert "Asked was: owner, by email; 15m to take it." in change.says
    assert "team:payments, by email; 10m to take it, 2 of them have to, 3 times, from major on" in change.says
