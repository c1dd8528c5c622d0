"""Mails that came in: what answers, what came back, and everything that looks like it and is neither."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failwell.notify.inbox import Bounce, Ignored, Reply, read_mail
from failwell.notify.mime import MAX_READ

KEY = "page-" + "0a1b2c3d" * 3
CODE = "7K2M-9XQD-4TWV-H3ZB"


def mail(body: str, *, content_type: str = "text/plain; charset=utf-8", **headers: str) -> bytes:
    plain = {"From": "Anna <Anna@shop.example>", "To": "failwell@shop.example", "Subject": "Re: [Failwell] x"}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in (plain | headers).items()]
    return "\r\n".join([*lines, f"Content-Type: {content_type}", "", body]).encode()


@pytest.mark.parametrize(
    "first",
    [f"ACK {CODE}", f"ack {CODE.lower()}", f"Ack: {CODE}.", f"  ACK {CODE.replace('-', ' ')}  ", f"ACK, {CODE}"],
)
def test_a_first_line_that_says_so_answers(first: str) -> None:
    found = read_mail(mail(f"\r\n{first}\r\n\r\n> You are asked to: take it.\r\n"))
    assert isinstance(found, Reply)
    assert found.sender == "anna@shop.example"


LETTER = (
    "refund-bot sent 45 notices. It is suspended.\r\nYou are asked to: take it.\r\n"
    f"By mail: answer this one, and begin with ACK and the code {CODE}.\r\n"
)


@pytest.mark.parametrize(
    "content",
    [
        mail(f"I am away until Monday.\r\n\r\n{LETTER}"),
        mail(LETTER),
        mail("> " + LETTER.replace("\r\n", "\r\n> ")),
        mail(f"What is this?\r\nACK {CODE}"),
        mail(f"> ACK {CODE}"),
        mail(f"ACK {CODE}", Auto_Submitted="auto-replied"),
        mail(f"ACK {CODE}", Auto_Submitted="auto-generated; owner"),
        mail(f"ACK {CODE}", Precedence="bulk"),
        mail(f"ACK {CODE}", X_Autoreply="yes"),
        mail(f"ACK {CODE}", Return_Path="<>"),
        mail(f"ACK {CODE}", From="a@x.example, b@x.example"),
        mail(f"<p>I am away</p><p>ACK {CODE}</p>", content_type="text/html"),
        mail(f"<blockquote>ACK {CODE}</blockquote>", content_type="text/html"),
        mail(f"<style>p{{}}</style><p>ACK {CODE}? Who is this?</p>", content_type="text/html"),
        mail("ACK"),
        mail(f"NACK {CODE}"),
        mail(f"ACK {CODE} not"),
        mail(""),
        b"",
        b"\x00\xff" * 1000,
        b"x" * (MAX_READ + 1),
    ],
    ids=[
        "vacation note", "the letter itself", "quoted", "second line", "quoted line", "auto-replied", "auto-generated",
        "bulk", "x-autoreply", "null sender", "two senders",
        "html, second line", "html, quoted", "html, a question", "no code", "no", "more words", "empty",
        "nothing", "noise", "huge",
    ],
)  # fmt: skip
@pytest.mark.requirement("R10.64", "R10.65", "R10.66")
def test_what_a_person_did_not_write_to_say_so_answers_nothing(content: bytes) -> None:
    assert isinstance(read_mail(content), Ignored)


def test_who_wrote_is_the_address_and_not_the_name_before_it() -> None:
    for said, sender in {
        '"anna@shop.example" <Eve@evil.example>': "eve@evil.example",
        "anna (eve@evil.example) <anna@shop.example>": "anna@shop.example",
        "anna@shop.example": "anna@shop.example",
        "=?utf-8?q?anna=40shop=2Eexample?= <eve@evil.example>": "eve@evil.example",
    }.items():
        found = read_mail(mail(f"ACK {CODE}", From=said))
        assert isinstance(found, Reply)
        assert found.sender == sender


@pytest.mark.parametrize(
    "said",
    ["", "anna", "anna@shop.example <eve@evil.example>, x", "<a@b.example> <c@d.example>", "a@b.example, c@d.example"],
)
def test_a_mail_that_does_not_say_from_whom_it_is_answers_nothing(said: str) -> None:
    assert isinstance(read_mail(mail(f"ACK {CODE}", From=said)), Ignored)


def parted(*parts: str, kind: str = "alternative", **headers: str) -> bytes:
    inside = "".join(f"--B\r\n{part}\r\n" for part in parts)
    return mail(f"{inside}--B--\r\n", content_type=f"multipart/{kind}; boundary=B", **headers)


def packed(text: str) -> str:
    return base64.encodebytes(text.encode()).decode()


@pytest.mark.parametrize(
    "content",
    [
        parted(f"Content-Type: text/plain\r\n\r\nACK {CODE}", "Content-Type: text/html\r\n\r\n<p>Something else</p>"),
        parted(f"Content-Type: text/html\r\n\r\n<html><head><title>Re</title></head><body><p>ACK {CODE}</p>"),
        mail(
            f"<div>ACK&nbsp;{CODE.replace('-', '&nbsp;')}</div><blockquote>old</blockquote>", content_type="text/html"
        ),
        mail(packed(f"ACK {CODE}\n"), Content_Transfer_Encoding="base64"),
        mail(f"ACK=20{CODE[:5]}=\r\n{CODE[5:]}", Content_Transfer_Encoding="quoted-printable"),
        mail(f"ACK {CODE.replace('-', chr(0x2011))}"),
        parted(f"\r\nACK {CODE}", kind="mixed"),
        b"From anna Mon Nov 23\n" + mail(f"ACK {CODE}").replace(b"\r\n", b"\n"),
        parted(f"Content-Type: text/plain\r\n\r\nACK {CODE}", "Content-Type: image/png\r\n\r\n" + "x" * MAX_READ),
        mail(f"ACK {CODE}", content_type="text/plain; charset=punycode"),
    ],
    ids=[
        "alternative",
        "html",
        "html, blanks",
        "base64",
        "soft line end",
        "dashes",
        "no headers",
        "mbox",
        "large",
        "odd",
    ],
)
@pytest.mark.requirement("R10.68")
def test_an_answer_is_read_as_mail_programs_send_it(content: bytes) -> None:
    found = read_mail(content)
    assert isinstance(found, Reply)
    assert found.sender == "anna@shop.example"
    assert [letter for letter in found.code if letter.isalnum()] == list(CODE.replace("-", ""))


@pytest.mark.parametrize(
    "content",
    [
        parted(f"Content-Type: message/rfc822\r\n\r\nFrom: b@c.example\r\n\r\nACK {CODE}", kind="mixed"),
        parted(f"Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nACK {CODE}", kind="mixed"),
        parted("Content-Type: text/plain\r\n\r\nFYI", f"Content-Type: text/plain\r\n\r\nACK {CODE}", kind="mixed"),
        parted("Content-Type: text/plain\r\n\r\nFYI", f"Content-Type: text/html\r\n\r\n<p>ACK {CODE}</p>"),
    ],
    ids=["forwarded as a mail", "attached", "second part", "only as html"],
)
@pytest.mark.requirement("R10.67")
def test_what_was_passed_on_with_a_mail_answers_nothing(content: bytes) -> None:
    assert isinstance(read_mail(content), Ignored)


def deep(levels: int) -> bytes:
    inside = "".join(f"Content-Type: multipart/mixed; boundary=b{at}\r\n\r\n--b{at}\r\n" for at in range(levels))
    return f"From: a@shop.example\r\n{inside}\r\nACK {CODE}\r\n".encode() + b"x\r\n" * 300_000


HOSTILE = {
    "parts within each other": deep(400),
    "many parts": mail("--B\r\n\r\nx\r\n" * 100_000, content_type="multipart/mixed; boundary=B"),
    "addresses": b"From: " + b"a@b.example, " * 200_000 + b"\r\n\r\nACK x",
    "parameters": b"From: a@b.example\r\nContent-Type: multipart/report; " + b"a*0=b; " * 50_000 + b"\r\n\r\nx",
    "encoded words": b"From: " + b"=?utf-8?q?a?= " * 50_000 + b"\r\n\r\nACK x",
    "headers": b"".join(b"X%d: y\r\n" % at for at in range(200_000)) + b"\r\nACK x",
    "comments": b"From: " + b"(" * 200_000 + b"\r\n\r\nACK x",
    "blanks": b"From: a@b.example\r\n\r\nACK a" + b" " * 1_000_000,
    "alphabet": b"From: a@b.example\r\nContent-Type: text/plain; charset=punycode\r\n\r\na-" + b"b9z" * 300_000,
    "comments of html": b"From: a@b.example\r\nContent-Type: text/html\r\n\r\n" + b'<!--<a "' * 200_000,
}


def test_no_mail_holds_the_reader_up() -> None:
    """Attack: with the library's parser the addresses alone took over two minutes, the encoded words all memory."""
    began = time.process_time()
    assert all(isinstance(read_mail(content), Ignored) for content in HOSTILE.values())
    assert time.process_time() - began < 5


PIECES = (
    b"From: a@b.example", b"\r\n", b"\n", b"\r\n\r\n", b"Content-Type: ", b"text/html", b"text/plain", b"; charset=",
    b"iso-8859-12", b"windows-1259", b"utf8", b"multipart/report; report-type=delivery-status; boundary=B", b"--B",
    b"--", b"Content-Transfer-Encoding: base64", b"quoted-printable", b"message/delivery-status", b"message/rfc822",
    b"Action: failed", b"Status: 5", b"ACK ", CODE.encode(), b"<!", b"<![if", b"<![x[", b"<!--", b"<", b">", b"&#",
    b"\xff\x00", b"=?", b'"', b"(",
)  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join) | st.binary(max_size=300))
def test_whatever_comes_in_is_read_or_ignored(content: bytes) -> None:
    assert isinstance(read_mail(content), Bounce | Reply | Ignored)
    read_mail(b"From: a@b.example\r\nContent-Type: text/html\r\n\r\n" + content)


@pytest.mark.parametrize("charset", ["iso-8859-12", "windows-1259", "utf-16", "zip", "x" * 300])
def test_a_text_in_an_alphabet_that_is_none_is_read_as_far_as_it_is_ascii(charset: str) -> None:
    found = read_mail(mail(f"ACK {CODE}", content_type=f'text/plain; charset="{charset}"'))
    assert isinstance(found, Reply)


# ---- what came back ------------------------------------------------------------------------------------------

RETURNED = "0123456789abcdef01234567"
OURS = f"Message-ID: <{KEY}@failwell.invalid>\r\nX-Failwell-Returned: {RETURNED}\r\n"


def report(
    action: str, status: str, *, original: str = OURS, kind: str = "text/rfc822-headers", of: str = "delivery-status"
) -> bytes:  # fmt: skip
    """As Postfix reports (RFC 3464)."""
    return (
        "Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.example (Mail Delivery System)\r\nTo: failwell@shop.example\r\n"
        "Subject: Undelivered Mail Returned to Sender\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/report; report-type={of};\r\n\tboundary="9B095.1450"\r\n\r\n'
        "This is a MIME-encapsulated message.\r\n\r\n"
        "--9B095.1450\r\nContent-Description: Notification\r\nContent-Type: text/plain\r\n\r\nsorry\r\n"
        f"--9B095.1450\r\nContent-Type: message/{of}\r\n\r\n"
        "Reporting-MTA: dns; mx.example\r\nX-Postfix-Queue-ID: 9B095\r\n\r\n"
        f"Final-Recipient: rfc822; anna@shop.example\r\nAction: {action}\r\nStatus: {status}\r\n"
        "Diagnostic-Code: smtp; 550 5.1.1 <anna@shop.example>: no such\r\n    user\r\n\r\n"
        f"--9B095.1450\r\nContent-Description: Undelivered Message\r\nContent-Type: {kind}\r\n\r\n"
        f"From: failwell@shop.example\r\n{original}\r\nYou are asked to: take it.\r\n--9B095.1450--\r\n"
    ).encode()


@pytest.mark.parametrize(
    ("action", "status", "permanent"),
    [("failed", "5.1.1", True), ("Failed", "4.4.7", True), ("delayed", "4.4.1", False)],
    ids=["refused", "given up", "late"],
)
@pytest.mark.parametrize("kind", ["text/rfc822-headers", "message/rfc822"])
@pytest.mark.requirement("R10.71")
def test_what_came_back_names_its_page_whether_it_is_for_good_and_nobodys_address(
    action: str, status: str, permanent: bool, kind: str
) -> None:
    found = read_mail(report(action, status, kind=kind))
    assert found == Bounce(KEY, permanent, f"{status} 550 5.1.1 <the recipient>: no such user", RETURNED)


@pytest.mark.parametrize(
    "content",
    [
        report("delivered", "2.0.0"),
        report("relayed", "2.0.0"),
        report("failed", "5.1.1", original="Message-ID: <x@y>\r\n"),
        report("failed", "5.1.1", original=f"Subject: <{KEY}@failwell.invalid>\r\n"),
        report("failed", "5.1.1", original=f"\r\nMessage-ID: <{KEY}@failwell.invalid>\r\n"),
        report("displayed", "2.0.0", of="disposition-notification"),
        report("failed", "5.1.1", of="feedback-report"),
        report("", ""),
        mail(f"<{KEY}@failwell.invalid> failed. Action: failed. Status: 5.1.1"),
    ],
    ids=[
        "receipt",
        "relayed",
        "another's",
        "in the subject",
        "in the text",
        "it was read",
        "complaint",
        "empty",
        "prose",
    ],
)
def test_a_receipt_and_a_report_about_somebody_elses_mail_are_no_bounces(content: bytes) -> None:
    assert isinstance(read_mail(content), Ignored)


def test_a_report_whose_words_are_made_of_parts_themselves_is_one() -> None:
    """As Google's and Microsoft's are; some name the protocol in capitals, and say more than the status."""
    words = "Content-Type: text/plain\r\n\r\nsorry"
    nested = (
        "Content-Type: multipart/related; boundary=R\r\n\r\n"
        "--R\r\nContent-Type: multipart/alternative; boundary=A\r\n\r\n"
        f"--A\r\n{words}\r\n--A\r\nContent-Type: text/html\r\n\r\n<p>sorry\r\n--A--\r\n\r\n"
        "--R\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n--R--\r\n"
    )
    content = report("failed", "5.0.0 (permanent failure)").decode()
    for plain, other in ((words, nested), ("smtp; 550", "SMTP;550"), ("Message-ID:", "Message-Id:")):
        assert plain in content
        content = content.replace(plain, other)
    found = read_mail(content.encode())
    assert isinstance(found, Bounce)
    assert (found.key, found.permanent, found.returned) == (KEY, True, RETURNED)
    assert found.detail.endswith("550 5.1.1 <the recipient>: no such user")


def test_a_report_that_does_not_bear_what_only_our_mail_does_says_so() -> None:
    """Message-IDs are known to whoever knows the ledger's name; whoever judges it asks for the other header."""
    found = read_mail(report("failed", "5.1.1", original=f"Message-ID: <{KEY}@failwell.invalid>\r\n"))
    assert isinstance(found, Bounce)
    assert found.returned == ""
