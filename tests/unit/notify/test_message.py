"""The mail's bytes: what an agent wrote stays text, whatever it tries to be."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failwell.core.errors import InputError
from failwell.notify import message
from failwell.ports.notifier import Mail

NOW_US = 1_795_410_000_000_000
NOTE = (
    "failwell/5d41402abc4b2a76\n1326\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— node-1 Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)


def mail(**changes: Any) -> Mail:
    fields: dict[str, Any] = {
        "to": "ann@shop.example",
        "subject": "[Failwell] refund-bot suspended",
        "text": "It is stopped.\n",
        "message_id": "<incident-1.page-1@failwell.example>",
        "headers": {"X-Failwell-Incident": "1"},
    }
    return Mail(**{**fields, **changes})


def parsed(**changes: Any) -> Any:
    data = message.build_message(mail(**changes), "failwell@shop.example", NOW_US).as_bytes()
    data.decode("ascii")  # the wire carries ASCII only
    assert all(len(line) <= 998 for line in data.split(b"\r\n"))
    assert data.replace(b"\r\n", b"").count(b"\n") == 0
    return message_from_bytes(data, policy=default)


def text_of(got: Any) -> str:
    return str(got.get_body(("plain",)).get_content()).replace("\r\n", "\n")


def test_the_mail_says_from_whom_to_whom_when_and_that_no_person_sent_it() -> None:
    got = parsed()
    assert got["From"] == "failwell@shop.example"
    assert got["To"] == "ann@shop.example"
    assert got["Subject"] == "[Failwell] refund-bot suspended"
    assert got["Date"] == "Mon, 23 Nov 2026 05:00:00 +0000"
    assert got["Message-ID"] == "<incident-1.page-1@failwell.example>"
    assert got["Auto-Submitted"] == "auto-generated"
    assert "NDR" not in got["X-Auto-Response-Suppress"].replace(" ", "").split(",")  # what fails is still reported
    assert got["X-Failwell-Incident"] == "1"
    assert got.get_content_type() == "multipart/alternative"
    assert [each.get_content_type() for each in got.iter_parts()] == ["text/plain", "text/html"]
    assert text_of(got) == "It is stopped.\n"


@pytest.mark.parametrize("text", [NOTE, "é漢😀\n", "x" * 5000 + "\n", ".\n..\nFrom here\n", "=3D=\n", "a \n\tb\n"])
def test_the_text_arrives_as_it_was(text: str) -> None:
    assert text_of(parsed(text=text)) == text


@pytest.mark.parametrize(
    "subject",
    [
        "stopped\r\nBcc: attacker@evil.example",
        "stopped\nBcc: attacker@evil.example",
        "stopped\rBcc: attacker@evil.example",
        "stopped\u2028Bcc: attacker@evil.example",
        "stopped\u0085Bcc: attacker@evil.example",
        "stopped\x0bBcc: attacker@evil.example",
        "stopped\x00\r\n\r\nBcc: attacker@evil.example",
        "stopped =?utf-8?q?=0D=0ABcc=3A_attacker=40evil.example?=",
        "=?utf-8?b?DQpCY2M6IGF0dGFja2VyQGV2aWwuZXhhbXBsZQ==?=",
        "=\x00?utf-8?q?=0D=0ABcc=3A_attacker=40evil.example?=",
        "==??utf-8?q?=0D=0ABcc=3A_attacker=40evil.example?=",
    ],
)
def test_an_agents_words_in_the_subject_become_no_header_and_no_body(subject: str) -> None:
    got = parsed(subject=subject)
    assert got.keys() == parsed().keys()
    assert text_of(got) == "It is stopped.\n"
    assert got["Bcc"] is None
    assert "\n" not in got["Subject"]


@given(
    st.text(max_size=400) | st.text(alphabet="=?\r\n\x00 :@qbQB_utf-80DA.<>,;\u2028", max_size=80),
    st.text(max_size=400),
)
def test_no_subject_and_no_text_changes_the_headers(subject: str, text: str) -> None:
    got = parsed(subject=subject, text=text)
    assert got.keys() == parsed().keys()
    assert got["To"] == "ann@shop.example"


def test_a_subject_is_cut_and_overrides_of_direction_are_taken_out() -> None:
    assert len(parsed(subject="x" * 500)["Subject"]) == message.MAX_SUBJECT
    assert message.clean_line("fine\u202egnihton\ud800 \t done", 200) == "fine gnihton done"
    assert message.clean_text("a\x1b[2Jb\r\nc\rd\u202ee") == "a[2Jb\nc\nde"


@pytest.mark.parametrize(
    "to",
    [
        "",
        "ann",
        "ann@",
        "@shop.example",
        "ann@shop.example, eve@evil.example",
        "ann@shop.example\r\nRCPT TO:<eve@evil.example>",
        "ann@shop.example\n",
        "<ann@shop.example>",
        "Ann <ann@shop.example>",
        '"a b"@shop.example',
        "ann@shop..example",
        "аnn@shop.example",  # noqa: RUF001  Cyrillic
        "a" * 65 + "@shop.example",
        "ann@[127.0.0.1]",
        "ann shop@x.example",
        "=?utf-8?q?=0D=0ABcc=3A_eve=40evil.example?=@shop.example",
    ],
)
def test_an_address_that_is_not_one_plain_address_is_refused(to: str) -> None:
    with pytest.raises(InputError, match="not a mail address"):
        message.build_message(mail(to=to), "failwell@shop.example", NOW_US)
    with pytest.raises(InputError, match="not a mail address"):
        message.build_message(mail(), to, NOW_US)


@pytest.mark.parametrize(
    "message_id", ["", "a@b", "<a@b", "<a b@c>", "<a@b>\r\nBcc: x@y", "<a@b>\n", "<@b>", "<a@b><c@d>"]
)
def test_a_message_id_that_is_none_is_refused(message_id: str) -> None:
    with pytest.raises(InputError, match="message id"):
        message.build_message(mail(message_id=message_id), "failwell@shop.example", NOW_US)


@pytest.mark.parametrize(
    "headers",
    [
        {"Bcc": "eve@evil.example"},
        {"To": "eve@evil.example"},
        {"Content-Type": "text/html"},
        {"Reply-To": "eve@evil.example"},
        {"X-Failwell-": "1"},
        {"X-Failwell-A\r\nBcc": "1"},
        {"X-Failwell-A": "1\r\nBcc: eve@evil.example"},
        {"X-Failwell-A": "1\n"},
        {"X-Failwell-A": ""},
        {"X-Failwell-A": "é"},
        {"X-Failwell-A": "=?utf-8?q?=0D=0ABcc=3A_eve=40evil.example?="},
        {"X-Failwell-A": "x" * 901},
    ],
)
def test_a_header_that_is_not_ours_or_not_one_line_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(InputError, match="header"):
        message.build_message(mail(headers=headers), "failwell@shop.example", NOW_US)


def test_a_text_without_end_is_refused() -> None:
    with pytest.raises(InputError, match="bytes"):
        message.build_message(mail(text="x" * 300_000), "failwell@shop.example", NOW_US)
