"""Keys, issuers and certificates on record: what somebody who keeps the log would have to forge, and what is found."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from failwell.core import kinds, orders
from failwell.core.instants import format_at, parse_at
from failwell.core.records import Entry
from failwell.gate import credentials as gate
from failwell.identity import issuer as issuers
from failwell.identity import keys, persons
from failwell.node import certifying
from failwell.verify import credentials
from failwell.verify.finding import Report
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, Image, replace

CERTIFIED = keys.from_seed(b"c" * 32)
REKEYED = keys.from_seed(b"r" * 32)


def text(public: bytes) -> str:
    return base64.b64encode(public).decode()


def live(made: ledgers.Made, *, end: str) -> issuers.Issuer:
    """An authority, a certificate, and then a new key or none."""
    ledgers.begin(made)
    issuer = issuers.make_issuer(made.path / "keys", made.origin, ledgers.START_US, os.urandom(16))
    made.write(certifying.issuer_draft(issuer, "asked for"))
    made.do(certifying.make_out(ledgers.AGENT, CERTIFIED.public, issuer, 60, lambda: True))
    if end == "revoke":
        signed = made.sign("quan", "agent.revoke", orders.AgentRevoke(agent=ledgers.AGENT, reason="stolen"))
        made.do(gate.revoke_key(signed, persons.verify_order, source="node"))
    elif end == "rekey":
        details = orders.AgentRekey(agent=ledgers.AGENT, key=text(REKEYED.public))
        made.do(gate.rekey(made.sign("olga", "agent.rekey", details), persons.verify_order))
    return issuer


class Told(Image):
    """The image, and the authority that signed in it."""

    issuer: issuers.Issuer


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    made = {}
    for end in ("certificate", "revoke", "rekey"):
        path: Path = tmp_path_factory.mktemp(end) / "w"
        with ledgers.fresh(path) as being:
            issuer = live(being, end=end)
        made[end] = Told(path)
        made[end].issuer = issuer
    return made


def says(report: Report, part: str) -> bool:
    return any(part in finding.message for finding in report.findings)


def last(image: Image, kind: type) -> Entry[Any]:
    return [entry for entry in Forger(image).entries() if isinstance(entry.body, kind)][-1]


def changed(image: Image, seq: int, how: Callable[[Entry[Any]], Entry[Any]]) -> Report:
    forger = Forger(image)
    forger.change(seq, how, resign=True)
    return forger.verify()


@pytest.mark.parametrize("end", ["certificate", "revoke", "rekey"])
def test_the_true_record_verifies(images: dict[str, Told], end: str) -> None:
    report = Forger(images[end]).verify()
    assert report.ok, report.findings


def test_a_key_that_nobody_ordered(images: dict[str, Told]) -> None:
    for status in ("active", "revoked"):
        forger = Forger(images["certificate"])
        body = kinds.AgentKey(key=text(REKEYED.public), status=status)
        seq = forger.append(body, "person:olga", ledgers.AGENT)
        report = forger.verify()
        assert says(report, "no order agent.register or agent.rekey or agent.revoke stands before it")
        assert report.first_bad == seq


@pytest.mark.parametrize("end", ["revoke", "rekey"])
def test_an_order_about_a_key_without_what_follows_from_it(images: dict[str, Told], end: str) -> None:
    image = images[end]
    assert isinstance(Forger(image).entries()[-1].body, kinds.AgentKey)
    forger = Forger(image)
    forger.cut(image.size - 1, resign=True)
    report = forger.verify()
    assert "reaction.missing" in report.counts
    assert says(report, "must be followed by AgentKey")


@pytest.mark.parametrize(
    ("end", "fields"),
    [
        ("revoke", {"status": "active"}), ("revoke", {"key": text(REKEYED.public)}),
        ("rekey", {"key": text(CERTIFIED.public)}), ("rekey", {"status": "revoked"}),
    ],
)  # fmt: skip
def test_what_follows_from_an_order_about_a_key_turned_into_something_else(
    images: dict[str, Told], end: str, fields: dict[str, str]
) -> None:
    entry = last(images[end], kinds.AgentKey)
    report = changed(images[end], entry.seq, lambda e: replace(e, body=replace(e.body, **fields)))
    assert "reaction.changed" in report.counts
    assert "order.effect" in report.counts


def test_a_key_beside_a_true_order_that_the_order_did_not_give(images: dict[str, Told]) -> None:
    # Attack: in the commit of a true revocation the agent gets a key that its keeper knows.
    image = images["revoke"]
    entries = Forger(image).entries()
    end = entries[-1]
    more = replace(
        end, seq=end.seq + 1, aseq=(end.aseq or 0) + 1, aprev=end.seq, actor="person:quan", refs=(),
        body=kinds.AgentKey(key=text(REKEYED.public), status="active"),
    )  # fmt: skip
    forger = Forger(image)
    forger.store([*entries, more], resign=True)
    assert says(forger.verify(), "person:quan changed a key")


def test_a_true_revocation_entered_as_one_of_nobody(images: dict[str, Told]) -> None:
    image = images["revoke"]
    forger = Forger(image)
    entries = forger.entries()[:-1]
    entries[-1] = replace(entries[-1], agent=None, aseq=None, aprev=None)
    forger.store(entries, resign=True)
    assert says(forger.verify(), f"the order is about {ledgers.AGENT}")


# ---- certificates ------------------------------------------------------------------------------------------------


def certificate(image: Told, issuer: issuers.Issuer, *, name: str = ledgers.AGENT, minutes: int = 60) -> Any:
    """A certificate's body as the node would write it, under the issuer on record."""
    at_us = parse_at(Forger(image).entries()[-1].at)
    made = issuer.issue(name, REKEYED.public, os.urandom(16), at_us, minutes)
    return kinds.AgentCertificate(
        serial="0" * 32, key=text(REKEYED.public), issuer=image.issuer.digest,
        certificate=text(made.certificate), not_before=format_at(made.not_before_us),
        not_after=format_at(made.not_after_us),
    )  # fmt: skip


def test_certificates_that_the_authority_on_record_did_not_make(images: dict[str, Told], tmp_path: Path) -> None:
    image = images["certificate"]
    stranger = issuers.make_issuer(tmp_path / "keys", image.origin, ledgers.START_US, os.urandom(16))
    good = certificate(image, image.issuer)
    cases: list[tuple[Any, str, str]] = [
        (certificate(image, stranger), "node", "was not signed by the issuer in force"),
        (replace(good, key=text(CERTIFIED.public)), "node", "over another key or name"),
        (certificate(image, image.issuer, name=f"{ledgers.AGENT}2"), "node", "over another key or name"),
        (certificate(image, image.issuer, name="spiffe://shop.example/agent/x"), "node", "over another key or name"),
        (replace(good, not_before="2030-01-01T00:00:00.000000Z"), "node", "does not hold from when"),
        (certificate(image, image.issuer, minutes=1442), "node", "or for too long"),
        (replace(good, certificate=good.certificate[:-8]), "node", "cannot be read"),
        (replace(good, certificate="AAAA"), "node", "cannot be read"),
        (good, "person:olga", "not made by the node"),
    ]
    for body, actor, part in cases:
        forger = Forger(image)
        seq = forger.append(body, actor, ledgers.AGENT)
        report = forger.verify()
        assert says(report, part), (part, report.findings)
        assert report.first_bad == seq
    forger = Forger(image)
    forger.append(good, "node", ledgers.AGENT)
    assert forger.verify().ok


def test_a_certificate_after_the_key_was_revoked_or_under_another_issuer(images: dict[str, Told]) -> None:
    for image, change in ((images["revoke"], {}), (images["certificate"], {"issuer": "0" * 64})):
        forger = Forger(image)
        forger.append(replace(certificate(image, image.issuer), **change), "node", ledgers.AGENT)
        assert says(forger.verify(), "an issuer that is not in force")


def test_an_issuer_that_is_not_its_own(images: dict[str, Told], tmp_path: Path) -> None:
    image = images["certificate"]
    made = issuers.make_issuer(tmp_path / "keys", image.origin, ledgers.START_US, os.urandom(16))
    good = certifying.issuer_draft(made, "lost").body
    other = certificate(image, image.issuer)
    wrong: list[tuple[Any, str, str]] = [
        (replace(good, digest="0" * 64), "node", "not the one that its key signed"),
        (replace(good, certificate="AAAA"), "node", "cannot be read"),
        (kinds.IdentityIssuer(certificate=other.certificate, digest="0" * 64, why=""), "node", "its key signed"),
        (good, "person:olga", "made by the node"),
    ]
    for body, actor, part in wrong:
        forger = Forger(image)
        forger.append(body, actor)
        assert says(forger.verify(), part), part
    forger = Forger(image)
    forger.append(good, "node")
    assert forger.verify().ok
    assert says_void(forger, image)


def says_void(forger: Forger, image: Told) -> bool:
    """Whether what the issuer before it made is refused behind a new one."""
    forger.append(certificate(image, image.issuer), "node", ledgers.AGENT)
    return says(forger.verify(), "an issuer that is not in force")


def test_what_is_no_certificate_is_read_as_none() -> None:
    for odd in (b"", b"\x30", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x30\x03\x02\x01\x01", bytes(300)):
        with pytest.raises(ValueError, match=r"\bits?\b"):
            credentials.public_key(odd)
