"""`escalation receive` as a mail server calls it: which mail is kept for later, and none is bounced to a stranger."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from failwell.cli import session
from failwell.cli.escalation_receive import TRY_LATER
from failwell.cli.main import app_main
from failwell.core.errors import FailwellError, Refused, Unhealthy, Unreachable
from failwell.notify.mime import MAX_READ


class Line:
    """The node's end of the line: answers as it is told to, or does not."""

    def __init__(self, answer: dict[str, Any] | FailwellError) -> None:
        self.answer = answer
        self.given: list[str] = []

    def call(self, what: str, *, content: str) -> dict[str, Any]:
        assert what == "mailed"
        self.given.append(content)
        if isinstance(self.answer, FailwellError):
            raise self.answer
        return self.answer


def receive(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any] | FailwellError, mail: bytes = b"From: a@b.example\n\nx"
) -> tuple[int, Line, io.BytesIO]:  # fmt: skip
    line, standard = Line(answer), io.BytesIO(mail)

    @contextlib.contextmanager
    def reach(place: Any) -> Iterator[Line]:
        yield line

    monkeypatch.setattr(session, "open_workspace", lambda given: SimpleNamespace())
    monkeypatch.setattr(session, "reach_node", reach)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(standard))
    monkeypatch.setattr(sys, "argv", ["failwell", "escalation", "receive", "--json"])
    with pytest.raises(SystemExit) as ended:
        app_main()
    return int(ended.value.code or 0), line, standard


@pytest.mark.parametrize(
    "answer",
    [
        {"state": "done", "purpose": "acknowledge", "person": "anna", "incident": 1, "entry": 9},
        {"state": "done", "purpose": "prove", "person": "anna"},
        {"state": "bounced", "page": 3, "permanent": True},
        {"state": "ignored", "why": "its first line is no answer"},
        Refused("it was answered already"),
    ],
)
def test_whatever_was_judged_ends_well_so_that_no_stranger_gets_it_back(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any] | FailwellError
) -> None:
    assert receive(monkeypatch, answer)[0] == 0


@pytest.mark.parametrize("error", [Unreachable("no node answers"), Unhealthy("the ledger does not write")])
@pytest.mark.requirement("R10.75")
def test_what_cannot_be_judged_now_is_kept_by_the_mail_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: FailwellError
) -> None:
    assert receive(monkeypatch, error)[0] == TRY_LATER == 75
    assert json.loads(capsys.readouterr().out)["state"] == "later"


def test_of_a_large_mail_the_beginning_is_given_and_all_of_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mebibyte is all that a caller may send who proved nothing; a server that is cut off tries for days."""
    _, line, standard = receive(monkeypatch, {"state": "ignored", "why": "x"}, b"x" * (5 * MAX_READ))
    assert len(line.given[0]) < 1024 * 1024 // 2
    assert standard.closed or standard.read() == b""
