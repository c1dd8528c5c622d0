"""The story as people read it: 80 columns, nothing that a terminal or a markup reader would obey; and what fails it."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest

from failwell.drills.demo import outcome, story, telling
from failwell.drills.demo.outcome import Forgery, Hindsight, OneByte, Refused, Told
from failwell.drills.demo.tallies import Notice
from failwell.response.account import Account, Escaped, Harmed, Stop
from failwell.response.moments import Moment


def moment(entry: int, after_ms: float = 0.0) -> Moment:
    return Moment(entry=entry, at="2026-11-23T06:00:00.123456Z", after_onset_ms=after_ms)


def whole() -> Told:
    times: dict[str, Moment | None] = {
        name: moment(entry, after) for name, entry, after in (
            ("onset", 70, 0.0), ("detected", 164, 1500.0), ("ordered", 165, 1500.0), ("suspended", 166, 1500.0),
            ("held", 167, 1500.0), ("stopped", 172, 1512.0), ("paged", 175, 1530.0),
        )
    }  # fmt: skip
    account = Account(
        incident=1, title="refund-bot: denied(x)", kind="real", severity="major", state="OPEN", agent=story.AGENT,
        name=story.AGENT_NAME, owner=story.OWNER, authority="SUSPENDED", governed=True, access=None,
        onset=(70, 164), times=times,
        bound={
            "stated_ms": 50, "measured_ms": 12.5, "proven_by": "no child left to wait for", "t1_ms": 1.0, "t2_ms": 13.0,
        },
        undoings=(),
        stops=(
            Stop(
                action=150, tool=story.SEND_BULK, executor="supervised", state="interrupted_confirmed", processes=2,
                measured_ms=12.5, proven_by="no child left to wait for",
            ),
        ),
        escaped_effects=Escaped(
            before_detection=1, while_stopping=1, after_fence=0, counted_from=("mail-log", "shop"), without_verdict=0
        ),
        customers=(Harmed(id="k-1", effects=2, entries=(80, 81)),), timeline=(), signals=1, asked=(),
        happened="", done=(), left=0, told=(), agreed=(), holder=None, offered=None, serious=False, merged_into=None,
    )  # fmt: skip
    return Told(
        directory="/tmp/d", workspace="/tmp/d/workspace", account=account, customers=11, before=11, repeats=12,
        refused=Refused(same_run=2, later_runs=3, allowed=0),
        notices=(Notice("a", "k-1", 1, frozenset({"shop"})), Notice("b", "k-1", 2, frozenset({"mail-log"}))),
        mail="/tmp/d/mail/kept-1.eml", verified=True, entries=190,
        one_byte=OneByte(entry=70, found=True, named=70, message=""),
        forgery=Forgery(
            customer="k-1", changed=(80,), customers_told=0, found_alone=False, found_with_mail=True,
            checkpoint_size=180, message="",
        ),
        hindsight=Hindsight(
            limit=story.REPEAT_LIMIT, decisions=30, same_as_recorded=30, first_denied=70, repeats=12, repeats_denied=12
        ),
        left_running=(), elapsed_ms=5000,
    )  # fmt: skip


def text_of(told: Told) -> str:
    out = io.StringIO()
    telling.tell(told, outcome.check(told), telling.speaker(out, 0.0))
    return out.getvalue()


def test_a_story_that_held_has_no_failures_and_fits_80_columns() -> None:
    told = whole()
    assert outcome.check(told) == ()
    text = text_of(told)
    assert max(len(line) for line in text.splitlines()) <= telling.WIDTH
    assert "NOT EVERYTHING HELD" not in text
    assert "1 notices escaped before the limit, 1 while it was being stopped, 0 after the" in text
    assert "12.5 ms measured, 50 ms stated" in text


def test_what_a_terminal_would_obey_is_not_printed() -> None:
    """Attack: a customer's name that is an escape sequence or markup."""
    told = whole()
    odd = Harmed(id="[red]k\x1b[2J\u202e", effects=2, entries=(80,))
    text = text_of(msgspec.structs.replace(told, account=msgspec.structs.replace(told.account, customers=(odd,))))
    assert "[red]k?[2J?" in text
    assert "\x1b" not in text


def change(path: str, value: Any) -> Told:
    """The whole story with one field, named by its path, replaced."""
    told = whole()
    head, _, tail = path.partition(".")
    if not tail:
        return msgspec.structs.replace(told, **{head: value})
    inner = getattr(told, head)
    name, _, key = tail.partition(".")
    if key and isinstance(getattr(inner, name), dict):
        value = {**getattr(inner, name), key: value}
    elif key:
        value = msgspec.structs.replace(getattr(inner, name), **{key: value})
    return msgspec.structs.replace(told, **{head: msgspec.structs.replace(inner, **{name: value})})


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("account.times.paged", None, "a moment of the response is missing"),
        ("account.times.paged", moment(999, 11_501.0), "within 10 s"),
        ("account.authority", "RESTRICTED", "not suspended"),
        ("account.stops", (), "no bulk send was stopped"),
        ("account.bound.measured_ms", 50.001, "the stated bound is 50 ms"),
        ("account.bound.measured_ms", None, "the stated bound is 50 ms"),
        ("account.escaped_effects.after_fence", 1, "after the fence"),
        ("account.escaped_effects.without_verdict", 1, "have no verdict"),
        ("account.escaped_effects.before_detection", 2, "the ledger counts 3"),
        ("account.customers", (), "the ledger counts 2"),
        ("before", 12, "before the first repeat"),
        ("refused.same_run", 0, "not refused after its suspension"),
        ("refused.later_runs", 0, "fresh process"),
        ("refused.allowed", 1, "allowed after the suspension"),
        ("mail", None, "within 10 s"),
        ("verified", False, "does not verify"),
        ("one_byte.found", False, "was not found"),
        ("one_byte.named", 71, "was not the one named"),
        ("forgery.found_alone", True, "consistent in itself"),
        ("forgery.found_with_mail", False, "did not show"),
        ("hindsight.same_as_recorded", 29, "gives other verdicts"),
        ("hindsight.first_denied", 71, "would not have stopped"),
        ("left_running", (4242,), "still run"),
    ],
)
def test_each_part_that_does_not_hold_is_said(path: str, value: Any, says: str) -> None:
    told = change(path, value)
    failures = outcome.check(told)
    assert any(says in each for each in failures), failures
    assert "NOT EVERYTHING HELD" in text_of(told)
    assert outcome.as_json(told)["held"] is False
