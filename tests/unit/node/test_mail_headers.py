"""The headers of a page's mail: one thread for a case, a mark by which only we know what comes back."""

from __future__ import annotations

from typing import Any

import pytest

from failwell.core.rows import Page
from failwell.node.mail_headers import mail_headers
from failwell.node.posting import Due
from failwell.notify.message import build_message
from failwell.ports.notifier import Mail


def due(about: str = "", incident: int | None = 7, severity: str = "critical", ticket: int | None = None) -> Due:
    page = Page(
        incident=incident, agent="a", ticket=ticket, person="rita", channel="email", step=1, state="queued", attempts=0,
        due_us=0, why="", about=about,
    )  # fmt: skip
    return Due(number=3, page=page, severity=severity)


def built(**given: Any) -> Any:
    headers = mail_headers(due(**given), "failwell/x", "3-0123456789abcdef")
    mail = Mail(to="a@x.example", subject="s", text="t\n", message_id="<page-1@failwell.invalid>", headers=headers)
    return build_message(mail, "failwell@x.example", 0, "answers@x.example")


def test_all_letters_of_an_incident_stand_in_one_thread_and_no_others_do() -> None:
    threads = {built(about=about)["References"] for about in ("", "step", "taken", "task")}
    assert len(threads) == 1
    assert built()["In-Reply-To"] in threads
    assert built(incident=8)["References"] not in threads
    assert built(incident=None)["References"] is None


@pytest.mark.parametrize(
    ("given", "loud"),
    [({}, True), ({"about": "step"}, True), ({"severity": "minor"}, False), ({"about": "task"}, False),
     ({"ticket": 1}, False)],
)  # fmt: skip
def test_what_must_be_taken_now_says_so_to_the_telephone_and_nothing_else_does(
    given: dict[str, Any], loud: bool
) -> None:
    assert built(**given)["Importance"] == ("high" if loud else None)


def test_it_is_answered_to_the_inbox_and_bears_what_comes_back_with_it() -> None:
    made = built()
    assert (made["From"], made["Reply-To"]) == ("failwell@x.example", "answers@x.example")
    assert made["X-Failwell-Returned"] == "3-0123456789abcdef"
    assert (made["X-Failwell-Incident"], made["X-Failwell-Severity"]) == ("7", "critical")
    assert made["List-Id"] is None  # mail programs put lists where nobody looks at night
