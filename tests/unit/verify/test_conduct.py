"""Each check by itself: a change that only this one check can tell, with everything else made to fit."""

from __future__ import annotations

import base64
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from failwell.core import kinds, note
from failwell.core.records import Draft, Entry, Ref, encode_entry
from failwell.identity import keys
from failwell.verify.finding import Report
from tests.unit.verify import ledgers
from tests.unit.verify.forgery import Forger, Image, replace


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return Image(ledgers.small(tmp_path_factory.mktemp("ledger") / "w"))


def decision(image: Image, verdict: str, **having: Any) -> Entry[Any]:
    """The first decision of a verdict, with limits it was measured against."""
    return next(
        entry
        for entry in Forger(image).entries()
        if isinstance(entry.body, kinds.Decision) and entry.body.verdict == verdict and entry.body.uses
    )


def changed(image: Image, entry: Entry[Any], **fields: Any) -> Report:
    forger = Forger(image)
    forger.change(entry.seq, lambda e: replace(e, body=replace(e.body, **fields)), resign=True)
    return forger.verify()


def says(report: Report, part: str) -> bool:
    return any(part in finding.message for finding in report.findings)


def test_a_limit_reserved_by_what_was_not_allowed_or_not_by_what_was(image: Image) -> None:
    for verdict, wrong in (("ALLOW", "not reserved by ALLOW"), ("DENY", "reserved by DENY")):
        entry = decision(image, verdict)
        uses = tuple(replace(use, reserved=not use.reserved) for use in entry.body.uses)
        assert says(changed(image, entry, uses=uses), wrong)


def test_a_limit_that_is_reached_and_did_not_speak_or_spoke_before_it_was(image: Image) -> None:
    entry = decision(image, "ALLOW")
    uses = tuple(replace(use, at_most=use.used) for use in entry.body.uses)
    assert says(changed(image, entry, uses=uses), "did not speak")
    spoken = kinds.Decided(id=entry.body.uses[0].limit, then="record", severity="minor")
    assert says(changed(image, entry, clauses=(*entry.body.clauses, spoken)), "and spoke")


def test_an_allow_for_a_suspended_agent_or_in_spite_of_an_error(image: Image) -> None:
    entry = decision(image, "ALLOW")
    assert says(changed(image, entry, authority="SUSPENDED"), "ALLOW for an agent that is SUSPENDED")
    assert says(changed(image, entry, errors=("amount: unreadable",)), "though the evaluation had errors")


def test_an_act_of_an_action_that_was_refused_is_laid_to_its_verdict(image: Image) -> None:
    started = next(e for e in Forger(image).entries() if isinstance(e.body, kinds.Started))
    denied = next(
        e for e in Forger(image).entries()
        if isinstance(e.body, kinds.Decision) and e.body.verdict == "ESCALATE" and e.seq > 0
    )  # fmt: skip
    moved = Forger(image)
    moved.change(started.seq, lambda e: replace(e, body=replace(e.body, decision=denied.seq)), resign=True)
    report = moved.verify()
    assert not report.ok
    late = next(e for e in reversed(Forger(image).entries()) if isinstance(e.body, kinds.Outcome))
    report = changed(image, late, decision=denied.seq)
    assert "action.not-allowed" in report.counts
    assert next(f for f in report.findings if f.code == "action.not-allowed").entry == denied.seq


def test_a_reaction_moved_out_of_its_commit_by_its_time(image: Image) -> None:
    entries = Forger(image).entries()
    signal = next(e for e in entries if e.actor == "response" and entries[e.seq + 1].at != e.at)
    forger = Forger(image)
    forger.change(signal.seq, lambda e: replace(e, at=entries[signal.seq + 1].at), resign=True)
    assert forger.verify().findings[0].code == "reaction.changed"


def test_an_entry_under_another_number_than_its_row(image: Image) -> None:
    data = [encode_entry(entry) for entry in Forger(image).entries()]
    forger = Forger(image)
    forger.store_bytes(
        [*data[:66], encode_entry(replace(Forger(image).entries()[66], seq=67)), *data[67:]], resign=True
    )
    report = forger.verify()
    assert report.first_bad == 66
    assert report.findings[0].code == "entry.number"


@pytest.mark.parametrize("spelled", [b"9007199254740993", b"123456789012345678901234567890"])
def test_a_number_that_other_readers_would_round(image: Image, spelled: bytes) -> None:
    data = [encode_entry(entry) for entry in Forger(image).entries()]
    at = next(e.seq for e in Forger(image).entries() if isinstance(e.body, kinds.Started))
    forger = Forger(image)
    changed = data[at].replace(b'"start_ticks":77', b'"start_ticks":' + spelled)
    assert changed != data[at]
    forger.store_bytes([*data[:at], changed, *data[at + 1 :]], resign=True)
    report = forger.verify()
    assert report.first_bad == at
    assert "entry.bytes" in report.counts


def test_a_citation_by_another_leaf(image: Image) -> None:
    entries = Forger(image).entries()
    citing = next(e for e in reversed(entries) if e.refs)
    data = [encode_entry(entry) for entry in entries]
    ref = citing.refs[0]
    data[citing.seq] = encode_entry(replace(citing, refs=(Ref(ref.origin, ref.seq, "0" * 64), *citing.refs[1:])))
    forger = Forger(image)
    forger.store_bytes(data, resign=True)
    found = next(f for f in forger.verify().findings if f.code == "entry.citation")
    assert (found.first, found.last) == (ref.seq, citing.seq)


def test_a_history_rewritten_by_who_lacks_the_log_key_does_not_give_the_signed_root(image: Image) -> None:
    entry = decision(image, "ALLOW")
    forger = Forger(image)
    forger.change(entry.seq, lambda e: replace(e, body=replace(e.body, arguments="0" * 64)), resign=False)
    report = forger.verify()
    assert report.findings[0].code == "head.root"
    assert (report.findings[0].first, report.findings[0].last) == (0, image.size - 1)
    assert not report.findings[0].exact


def test_a_genesis_that_names_another_log_key_under_the_right_signature(image: Image) -> None:
    forger = Forger(image)
    forger.change(0, lambda e: replace(e, body=replace(e.body, log_key="log+00000000+AQ==")), resign=True)
    report = forger.verify()
    assert report.counts == {"head.genesis": 1}
    assert report.first_bad == 0


def test_an_order_that_names_another_key_than_it_was_signed_with(image: Image) -> None:
    order = next(e for e in Forger(image).entries() if isinstance(e.body, kinds.Order))
    assert says(changed(image, order, key="0" * 16), "another key than the one enrolled")


def rewritten_by(image: Image, name: str, key: keys.SigningKey, order: kinds.Order) -> kinds.Order:
    """The same order given by another person, truly signed."""
    text = order.text.replace(f'"person":"{order.person}"', f'"person":"{name}"')
    signature = key.sign(b"failwell/order/1\n" + text.encode())
    return replace(
        order, person=name, text=text, key=sha256(key.public).hexdigest()[:16],
        signature=base64.b64encode(signature).decode(),
    )  # fmt: skip


def test_a_release_approved_by_the_person_who_proposed_it(image: Image) -> None:
    entries = Forger(image).entries()
    approved = next(e for e in entries if isinstance(e.body, kinds.ReleaseApproved))
    order = entries[approved.refs[0].seq]
    key = keys.from_seed(bytes([1]) * 32)  # olga, who proposed
    new = {
        order.seq: replace(order, body=rewritten_by(image, "olga", key, order.body), actor="person:olga"),
        approved.seq: replace(approved, body=replace(approved.body, person="olga"), actor="person:olga"),
    }
    forger = Forger(image)
    forger.store([new.get(entry.seq, entry) for entry in entries], resign=True)
    report = forger.verify()
    assert report.first_bad == approved.seq
    assert says(report, "not another person's approval")


def test_a_contract_adopted_by_one_person_alone(image: Image) -> None:
    entries = Forger(image).entries()
    adopted = next(e for e in entries if isinstance(e.body, kinds.ContractAdopted))
    order = entries[adopted.seq - 1]
    assert order.body.order == "contract.adopt"
    body = rewritten_by(image, "olga", keys.from_seed(bytes([1]) * 32), order.body)
    forger = Forger(image)
    forger.change(order.seq, lambda e: replace(e, body=body, actor="person:olga"), resign=True)
    report = forger.verify()
    assert report.first_bad == adopted.seq
    assert says(report, "needs a second person")


def test_two_names_with_one_key_are_one_person(tmp_path: Path) -> None:
    """Attack: the owner enrols their own key under a second name, and approves their own contract with it."""
    with ledgers.fresh(tmp_path / "w") as made:
        ledgers.begin(made)
    image = Image(tmp_path / "w")
    entries = Forger(image).entries()
    key = keys.from_seed(bytes([1]) * 32)
    public = base64.b64encode(key.public).decode()
    new = {}
    for entry in entries:
        if isinstance(entry.body, kinds.PersonEnrolled) and entry.body.person == "piet":
            new[entry.seq] = replace(entry, body=replace(entry.body, key=public))
        elif isinstance(entry.body, kinds.Order) and entry.body.person == "piet":
            new[entry.seq] = replace(entry, body=rewritten_by(image, "piet", key, entry.body))
    forger = Forger(image)
    forger.store([new.get(entry.seq, entry) for entry in entries], resign=True)
    assert says(forger.verify(), "sign with one key")


def test_a_key_that_other_readers_would_sort_elsewhere(image: Image) -> None:
    entry = decision(image, "ALLOW")
    facts = {"Ä": kinds.Fact(value=1, public=True, provenance="asserted")}
    texts = [encode_entry(each) for each in Forger(image).entries()]
    changed = replace(entry, body=replace(entry.body, facts=facts))
    texts[entry.seq] = msgspec.json.Encoder(order="sorted").encode(changed)
    forger = Forger(image)
    forger.store_bytes(texts, resign=True)
    report = forger.verify()
    assert report.first_bad == entry.seq
    assert report.findings[0].code == "entry.bytes"


@pytest.mark.requirement("R28.13")
def test_an_allow_while_a_part_had_failed(tmp_path: Path) -> None:
    """Attack: tools could not be stopped, so the gate denied; the denial is made an ALLOW afterwards."""
    with ledgers.fresh(tmp_path / "w") as made:
        ledgers.begin(made)
        run = made.run()
        made.write(Draft(body=kinds.Health(part="stopping", state="failed", detail="gone"), actor="node"))
        denied = made.ask(run, "c1", "orders.read", {"order_id": "A-1"})
        made.write(Draft(body=kinds.Health(part="stopping", state="ok", detail="back"), actor="node"))
        made.settle(made.ask(run, "c2", "orders.read", {"order_id": "A-1"}))
    image = Image(tmp_path / "w")
    assert denied.verdict == "DENY"
    assert Forger(image).verify().ok
    forger = Forger(image)
    forger.change(denied.entry, lambda e: replace(e, body=replace(e.body, verdict="ALLOW", clauses=())), resign=True)
    report = forger.verify()
    assert "decision.health" in report.counts
    assert report.first_bad == denied.entry
    assert says(report, "an ALLOW while stopping had failed")


def test_a_key_changed_or_a_log_continued_by_nobodys_order(image: Image) -> None:
    """The guard's old key and the new one are both in the forger's hands; a person's is not."""
    new = keys.from_seed(b"n" * 32)
    was, key = note.VerifierKey.parse(image.log_key), note.VerifierKey(image.origin, new.public)
    statement = note.sign_change(was, key, image.log.sign, new.sign).decode()
    forger = Forger(image)
    seq = forger.append(kinds.LogKey(was=was.text(), key=key.text(), statement=statement), "person:olga")
    report = forger.verify()
    assert says(report, "no order ledger.rotate stands before it")
    assert report.first_bad == seq
    assert "key.statement" not in report.counts
    forger = Forger(image)
    root = forger.root(image.size).hex()
    body = kinds.Continued(
        was=image.origin, size=image.size, root=root, key=key.text(), lost_size=None, lost_root=None, lost_note=None,
        why="restored",
    )  # fmt: skip
    seq = forger.append(body, "person:olga")
    report = forger.verify()
    assert {"log.continued", "order.effect"} <= set(report.counts) or "entry.fold" in report.counts
    assert report.first_bad == seq
