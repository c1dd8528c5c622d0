"""Doctor says of each way to people whether it works; what was never used is unknown, never fine."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from failwell.cli import doctor_channels
from failwell.node.settings import parse_settings, settings_text

TEXT = """
[mail]
host = "127.0.0.1"
sender = "failwell@shop.example"
security = "none"
[secrets.s]
env = "S"
[channels.room]
kind = "slack"
secret = "s"
"""


def page(channel: str = "email", **more: Any) -> dict[str, Any]:
    now_us = time.time_ns() // 1000
    return {"channel": channel, "state": "queued", "attempts": 0, "due_us": now_us, "permanent": False, **more}


INBOX = '[mail.inbox]\nkind = "maildir"\npath = "/var/mail/failwell"\n'


def told(
    *pages: dict[str, Any], mail: bool = True, inbox: str = "", failed: str | None = None, **ways: Any
) -> dict[str, tuple[str, str]]:  # fmt: skip
    """(state, found) of each way, by the first word of what is said."""
    seen: Any = SimpleNamespace(
        force={"text": settings_text(parse_settings(TEXT + inbox))},
        status={"mail": mail, "ways": ways, "inbox": failed},
        pages=dict(enumerate(pages)), failed_page=None, accepted_at=None,
    )  # fmt: skip
    return {line[2].split()[0].rstrip(":"): (line[1], line[2]) for line in doctor_channels.lines(seen)}


def way(**more: Any) -> dict[str, Any]:
    return {"accepted_us": 0, "failed": 0, "failed_us": 0, "detail": "", **more}


def test_what_was_never_used_is_unknown_and_what_took_a_page_is_fine() -> None:
    found = told(page(state="accepted"))
    assert (found["mail"][0], found["room"][0]) == ("ok", "unknown")


@pytest.mark.parametrize("name", ["mail", "room"])
@pytest.mark.requirement("R28.38")
def test_what_fails_is_to_be_mended_and_says_why_and_how_much_waits(name: str) -> None:
    channel = "email" if name == "mail" else name
    failing = way(failed=3, detail="connection refused", accepted_us=1)
    ways: Any = {channel: failing}
    state, said = told(page(channel, attempts=3), **ways)[name]
    assert state == "todo"
    assert "connection refused; 1 page waits" in said


def test_what_failed_before_this_node_started_is_told_too() -> None:
    assert told(page("room", attempts=2, permanent=True))["room"][0] == "todo"


def test_pages_for_a_channel_that_is_gone_are_not_forgotten() -> None:
    found = told(page("attic"))
    assert found["1"] == ("todo", "1 page waits for attic, which no setting declares any more")


def test_of_the_inbox_it_is_said_whether_what_comes_in_is_read() -> None:
    assert told()["no"][0] == "known"
    assert told(inbox=INBOX)["inbox"] == (
        "ok",
        "inbox: answers, and mails that come back, are read from /var/mail/failwell",
    )
    assert told(inbox=INBOX, failed="/var/mail/failwell: looking there hangs")["inbox"][0] == "todo"


def test_without_mail_nobody_can_be_written_to() -> None:
    assert told(mail=False)["no"][0] == "todo"
