"""Customers said to be told or whole: by whoever keeps the record, about others, in other words, or about nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from failwell.core import kinds, orders
from failwell.core.errors import InputError, Refused
from failwell.core.records import Draft
from failwell.identity import persons
from failwell.ledger.vault import commitment
from failwell.response import customers
from failwell.response import orders as response
from failwell.response.said import Said
from failwell.verify.finding import Report
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, Image, replace

SALT = "5a" * 16
TEXT = "Dear customer, we paid you twice."
SAID = Said(TEXT, SALT)


def digest(text: str = TEXT) -> str:
    return commitment(bytes.fromhex(SALT), text.encode())


def tell(made: ledgers.Made, person: str, said: Said = SAID, **fields: Any) -> int:
    details = orders.CustomerTell(**{"incident": 1, "how": "mail", "words": digest(), **fields})
    entry: int = made.do(customers.tell(made.sign(person, "customer.tell", details), persons.verify_order, said))
    return entry


def restore(made: ledgers.Made, person: str, **fields: Any) -> int:
    details = orders.CustomerRestore(**{"incident": 1, "words": digest("Paid back."), **fields})
    signed = made.sign(person, "customer.restore", details)
    entry: int = made.do(customers.restore(signed, persons.verify_order, Said("Paid back.", SALT)))
    return entry


def suspended(made: ledgers.Made) -> dict[str, Any]:
    """An incident, and one of its customers with the decision that names them."""
    ledgers.begin(made)
    verdict = made.refund(made.run(), "c1", "A-1")
    row = made.book.state.action[verdict.entry]
    made.settle(verdict)
    details = orders.AgentSuspend(agent=ledgers.AGENT, reason="it misbehaves")
    made.do(response.suspend(made.sign("piet", "agent.suspend", details), persons.verify_order, source="node"))
    return {"shown": verdict.entry, "customer": row.customer}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """One customer, told by mail and made whole."""
    path = tmp_path_factory.mktemp("customers") / "w"
    with ledgers.fresh(path) as made:
        about = suspended(made)
        tell(made, "olga", **about)
        restore(made, "quan", **about)
    return Image(path)


def says(report: Report, part: str) -> bool:
    return any(part in finding.message for finding in report.findings)


def changed(image: Image, kind: type[Any], **fields: Any) -> Report:
    forger = Forger(image)
    entry = next(each for each in forger.entries() if isinstance(each.body, kind))
    forger.change(entry.seq, lambda e: replace(e, body=replace(e.body, **fields)), resign=True)
    return forger.verify()


def test_what_a_person_said_of_a_customer_verifies_and_its_words_stand_in_no_entry(image: Image) -> None:
    report = Forger(image).verify()
    assert report.ok, report.findings
    for word in (b"twice", b"Paid back"):
        assert not any(word in data for (data,) in Forger(image).sql("SELECT data FROM entry"))


def test_nobody_is_said_to_be_told_or_whole_without_a_persons_order(image: Image) -> None:
    """Attack: whoever keeps the record closes the list of customers by themselves."""
    made = Forger(image)
    body = next(each.body for each in made.entries() if isinstance(each.body, kinds.CustomerTold))
    seq = made.append(body, "person:olga", ledgers.AGENT, (3, body.shown))
    report = made.verify()
    assert says(report, "no order customer.tell stands before it")
    assert report.first_bad == seq


@pytest.mark.parametrize(
    "fields",
    [{"how": "phone"}, {"person": "piet"}, {"words": "ab" * 32}, {"shown": 3}, {"customer": "c-" + "0" * 32}],
    ids=lambda fields: next(iter(fields)),
)
@pytest.mark.requirement("R11.16")
def test_what_the_order_does_not_say_is_found(image: Image, fields: dict[str, Any]) -> None:
    assert says(changed(image, kinds.CustomerTold, **fields), "is not that of the order")
    if "how" not in fields:
        assert says(changed(image, kinds.CustomerRestored, **fields), "is not that of the order")


@pytest.mark.requirement("R11.14")
@pytest.mark.requirement("R11.15")
def test_a_customer_whom_no_entry_names_is_found_although_a_person_signed(tmp_path: Path) -> None:
    with ledgers.fresh(tmp_path / "w") as made:
        about = suspended(made) | {"customer": "c-" + "7" * 32}
        with pytest.raises(Refused, match="does not show"):
            tell(made, "olga", **about)
        details = orders.CustomerTell(incident=1, how="mail", words=digest(), **about)
        signed = made.sign("olga", "customer.tell", details)
        order = kinds.Order(
            order="customer.tell", person="olga", key=signed.key, text=signed.order, signature=signed.signature,
            source="node",
        )  # fmt: skip
        told = kinds.CustomerTold(incident=1, how="mail", words=digest(), person="olga", **about)
        made.write(
            Draft(body=order, actor="person:olga", agent=ledgers.AGENT),
            Draft(
                body=told, actor="person:olga", agent=ledgers.AGENT, secret={"text": TEXT, "salt": SALT},
                refs=(made.book.state.size, about["shown"]),
            ),
        )  # fmt: skip
    assert says(Forger(Image(tmp_path / "w")).verify(), "does not name")


def test_words_that_were_not_signed_another_incident_and_an_entry_that_is_still_to_come_are_refused(
    tmp_path: Path,
) -> None:
    with ledgers.fresh(tmp_path / "w") as made:
        about = suspended(made)
        with pytest.raises(InputError, match="not the one that this order is bound to"):
            tell(made, "olga", Said("something kinder", SALT), **about)
        with pytest.raises(Refused, match="does not show"):
            tell(made, "olga", **(about | {"shown": made.book.state.size + 5}))
        with pytest.raises(Refused, match="does not show"):
            tell(made, "olga", **(about | {"shown": 3}))
        size = made.book.state.size
        tell(made, "olga", **about)
        assert made.book.state.size == size + 2
