"""Permits on record: what somebody who keeps the log would have to forge to say that one was rightly issued."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from failwell.core import kinds, orders
from failwell.core.instants import format_at, parse_at
from failwell.core.records import Draft, Entry
from failwell.gate.registry import apply_config
from failwell.identity import keys, persons
from failwell.node import settings
from failwell.node.watch import digest
from failwell.permits.tokens import thumbprint
from failwell.response import orders as response
from failwell.verify.finding import Report
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, Image, replace

PUBLIC = keys.from_seed(b"p" * 32).public
KEY = kinds.PermitKey(kid=thumbprint(PUBLIC), key=base64.b64encode(PUBLIC).decode())
SETTINGS = '[tools."orders.read"]\npermit = "shop-api"\n[permits]\nlifetime_s = 20\n'


def permit(decision: int, number: int, at_us: int = ledgers.START_US, **bent: Any) -> kinds.PermitIssued:
    said = {
        "decision": decision, "jti": f"{number:032x}", "kid": KEY.kid, "audience": "shop-api",
        "expires": format_at(at_us + 15_000_000), **bent,
    }  # fmt: skip
    return kinds.PermitIssued(**said)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Three actions: one with a permit that ended, one with a permit that is open, one without; then a suspension."""
    path: Path = tmp_path_factory.mktemp("permitted") / "w"
    with ledgers.fresh(path) as made:
        ledgers.begin(made)
        text = settings.settings_text(settings.parse_settings(SETTINGS))
        before = made.book.state.workspace[1].configuration
        details = orders.ConfigApply(settings=digest(text), previous=before)
        signed = made.sign("olga", "config.apply", details)
        made.do(apply_config(signed, text, digest(text), persons.verify_order))
        run = made.run()
        made.write(Draft(body=KEY, actor="node"))
        for number in (1, 2):
            decided = made.ask(run, f"call-{number}", "orders.read", {"order_id": f"A-{number}"})
            assert decided.verdict == "ALLOW"
            made.write(
                Draft(
                    body=permit(decided.entry, number),
                    actor="node",
                    agent=ledgers.AGENT,
                    run=run,
                    refs=(decided.entry,),
                )
            )
            if number == 1:
                made.settle(decided)
        made.ask(run, "call-3", "orders.read", {"order_id": "A-3"})
        denied = made.ask(run, "call-4", "orders.unlisted", {})
        assert denied.verdict == "DENY"
        suspended = made.sign("quan", "agent.suspend", orders.AgentSuspend(agent=ledgers.AGENT, reason="stop"))
        made.do(response.suspend(suspended, persons.verify_order, source="node"))
    return Image(path)


def entries(image: Image, kind: type) -> list[Entry[Any]]:
    return [entry for entry in Forger(image).entries() if isinstance(entry.body, kind)]


def changed(image: Image, seq: int, how: Callable[[Entry[Any]], Entry[Any]]) -> Report:
    forger = Forger(image)
    forger.change(seq, how, resign=True)
    return forger.verify()


def found(report: Report) -> str:
    return "; ".join(finding.message for finding in report.findings if finding.code == "permit")


def test_an_honest_record_of_permits_is_accused_of_nothing(image: Image) -> None:
    report = Forger(image).verify()
    assert report.ok, report.findings


def bent(**fields: Any) -> Callable[[Entry[Any]], Entry[Any]]:
    return lambda entry: replace(entry, body=replace(entry.body, **fields))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (bent(audience="evil-api"), "which the settings do not name"),
        (bent(kid="another"), "another key than the one on record"),
        (bent(jti="00"), "number is none"),
        (bent(jti=f"{1:032x}"), "number of an earlier one"),
        (bent(expires=format_at(ledgers.START_US + 3600 * 1_000_000)), "lives longer"),
        (bent(decision=0), "no open action"),
        (lambda entry: replace(entry, refs=()), "does not cite"),
        (lambda entry: replace(entry, actor=f"agent:{ledgers.AGENT}"), "not of the node"),
        (lambda entry: replace(entry, run=None), "another agent's or run's"),
    ],
)
def test_a_permit_that_says_anything_else_is_found(
    image: Image, how: Callable[[Entry[Any]], Entry[Any]], said: str
) -> None:
    seq = entries(image, kinds.PermitIssued)[1].seq
    report = changed(image, seq, how)
    assert said in found(report), report.findings
    assert report.first_bad == seq


@pytest.mark.requirement("R8.25")
def test_a_permit_without_its_leave_is_found(image: Image) -> None:
    decisions = [entry.seq for entry in entries(image, kinds.Decision)]
    at_us = parse_at(Forger(image).entries()[-1].at)
    for decision, said in (
        (decisions[0], "no open action"),  # it has ended
        (decisions[3], "no open action"),  # it was denied
        (decisions[1], "a second permit"),
        (decisions[2], "was stopped after that"),
    ):
        forger = Forger(image)
        body = permit(decision, 99, at_us)
        seq = forger.append(body, "node", ledgers.AGENT, (decision,))
        run = entries(image, kinds.Decision)[0].run
        forger.change(seq, lambda entry: replace(entry, run=run), resign=True)  # noqa: B023
        report = forger.verify()
        assert said in found(report), (decision, report.findings)


def test_a_permit_that_is_older_than_its_own_key_or_its_verdict_is_found(image: Image) -> None:
    """Attack: the entry that says so is put in only later, behind what it should have stood before."""
    key = entries(image, kinds.PermitKey)[0].seq
    report = changed(image, key, bent(kid=thumbprint(bytes(32))))
    assert "another key's id" in found(report)
    assert "another key than the one on record" in found(report)
    report = changed(image, key, bent(key="AAAA"))
    assert "the key of permits is none" in found(report)
    first = entries(image, kinds.PermitIssued)[0]
    report = changed(image, first.seq, bent(decision=first.seq + 2))
    assert "no open action" in found(report)


def test_settings_that_name_no_server_let_no_permit_leave(image: Image) -> None:
    config = entries(image, kinds.Config)[-1]
    said = json.loads(config.body.text)
    said["tools"] = []
    report = changed(image, config.seq, bent(text=json.dumps(said)))
    assert "which the settings do not name" in found(report)
    report = changed(image, config.seq, bent(text="{"))
    assert "which the settings do not name" in found(report)
