"""Channels against real receivers that behave as badly as those out there."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import os
import pty
import time
from pathlib import Path
from typing import Any

import pytest

from failwell.core.errors import InputError
from failwell.identity import keys
from failwell.notify import pagerduty, slack
from failwell.notify.desktop import Desktop
from failwell.notify.pinned import Endpoint, expect, is_public
from failwell.notify.slack import Slack
from failwell.notify.standard_webhooks import Webhook
from failwell.notify.terminal import Terminal
from failwell.ports.notifier import Message, NotifyFailed
from tests import receivers
from tests.receivers import receiving

LOCAL = (ipaddress.ip_network("127.0.0.0/8"),)
NOW_US = 1_795_500_000_000_000
HOSTILE = "refund-bot said <!channel> <https://evil.example|here> \x1b[2J\u202e*bold*\r\nX-Injected: 1"


class Stopped:
    def wall_us(self) -> int:
        return NOW_US

    def mono_us(self) -> int:
        return 0

    def boot(self) -> str:
        return "b"


CLOCK: Any = Stopped()
KEY = keys.generate()


def message(**given: Any) -> Message:
    plain: dict[str, Any] = {
        "key": "page-77", "thread": "failwell-x-1", "action": "trigger", "subject": "refund-bot suspended",
        "text": HOSTILE,
        "severity": "critical", "incident": 1, "agent": "refund-bot", "persons": ("anna",), "origin": "failwell/x",
        "checkpoint": "failwell/x\n7\nroot\n", "at_us": NOW_US, "link": "https://failwell.example/a/t",
    }  # fmt: skip
    return Message(**(plain | given))


def local(receiver: receivers.Receiver, deadline_s: float = 3.0, **given: Any) -> Endpoint:
    return Endpoint(f"http://127.0.0.1:{receiver.port}/hook", allow=LOCAL, deadline_s=deadline_s, **given)


# ---- one POST, to an address that was checked ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("behave", "temporary"),
    [
        (receivers.status(400), False), (receivers.status(401), False), (receivers.status(404), False),
        (receivers.status(410), False), (receivers.status(408), True), (receivers.status(429), True),
        (receivers.status(500), True), (receivers.status(503), True), (receivers.cut, True),
        (receivers.status(302, location="http://169.254.169.254/"), False),
        (receivers.status(307, location="http://127.0.0.1:1/"), False),
    ],
    ids=["400", "401", "404", "410", "408", "429", "500", "503", "cut", "302", "307"],
)  # fmt: skip
def test_what_a_receiver_does_wrong_is_a_failure_that_says_whether_trying_again_helps(
    behave: receivers.Behave, temporary: bool
) -> None:
    with receiving(behave) as receiver:
        hook = Webhook(local(receiver), CLOCK, KEY.sign)
        with pytest.raises(NotifyFailed) as failed:
            hook.tell(message())
        assert failed.value.temporary is temporary
        assert len(receiver.received) == 1, "no redirect was followed, and nothing tried twice"


@pytest.mark.parametrize("behave", [receivers.hang, receivers.drip()], ids=["hangs", "drips"])
@pytest.mark.requirement("R10.42")
def test_one_deadline_bounds_all_of_it(behave: receivers.Behave) -> None:
    """Attack: a server that sends one byte within each timeout would hold the page for ever."""
    with receiving(behave) as receiver:
        began = time.monotonic()
        with pytest.raises(NotifyFailed) as failed:
            Webhook(local(receiver, 0.6), CLOCK, KEY.sign).tell(message())
        assert failed.value.temporary
        assert time.monotonic() - began < 3


def test_a_handshake_that_goes_on_for_ever_is_within_the_deadline() -> None:
    """Attack: the head of a TLS record of 16 kB, and then a byte of it each time before patience ends."""
    began = time.monotonic()
    with receivers.mumbling(b"\x16\x03\x03\x40\x00") as port, pytest.raises(NotifyFailed) as failed:
        Endpoint(f"https://127.0.0.1:{port}/", allow=LOCAL, deadline_s=0.5).post(b"{}", {})
    assert failed.value.temporary
    assert time.monotonic() - began < 3


def test_a_lookup_that_hangs_is_within_the_deadline() -> None:
    def never(host: str, port: int) -> tuple[str, ...]:
        time.sleep(2)
        return ("127.0.0.1",)

    began = time.monotonic()
    with pytest.raises(NotifyFailed, match="not looked up in time"):
        Endpoint("https://hooks.example/", deadline_s=0.2, resolve=never).post(b"", {})
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:0:7f00:1::", "fd00:ec2::254", "fec0::1",
        "168.63.129.16", "192.0.0.192", "192.88.99.1", "3fff::1",
    ],
)  # fmt: skip
@pytest.mark.requirement("R10.39")
def test_an_address_that_is_not_public_is_refused_however_it_is_spelled(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    with pytest.raises(NotifyFailed, match="no public address") as failed:
        Endpoint("https://hooks.example/", resolve=lambda host, port: (address,)).post(b"", {})
    assert not failed.value.temporary


def test_a_public_address_is_spoken_to_however_a_network_spells_it() -> None:
    """A network of the newer protocol alone writes older addresses so (RFC 6052); from there nobody could be paged."""
    for address in ("8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"):
        assert is_public(ipaddress.ip_address(address))


@pytest.mark.requirement("R10.41")
def test_a_name_with_one_private_address_among_public_ones_is_refused() -> None:
    with pytest.raises(NotifyFailed, match="no public address"):
        Endpoint("https://hooks.example/", resolve=lambda host, port: ("8.8.8.8", "127.0.0.1")).post(b"", {})


@pytest.mark.requirement("R10.40")
def test_the_address_that_was_checked_is_the_one_that_is_spoken_to(tmp_path: Path) -> None:
    """Attack: DNS that answers otherwise when it is asked a second time, between check and connect."""
    tls, ca_file = receivers.authority(tmp_path)
    answers = iter([("127.0.0.1",), ("10.0.0.1",)])
    with receiving(tls=tls) as receiver:
        endpoint = Endpoint(
            f"https://hooks.example:{receiver.port}/", allow=LOCAL, ca_file=ca_file,
            resolve=lambda host, port: next(answers),
        )  # fmt: skip
        assert endpoint.post(b"{}", {}).status == 200
        assert receiver.received[0].headers["host"] == f"hooks.example:{receiver.port}"
    assert next(answers) == ("10.0.0.1",), "it was asked once"


def test_of_several_addresses_the_first_that_takes_a_connection_is_spoken_to() -> None:
    with receiving() as receiver:
        endpoint = Endpoint(
            f"http://localhost:{receiver.port}/", allow=LOCAL, resolve=lambda host, port: ("127.0.0.9", "127.0.0.1")
        )
        assert endpoint.post(b"{}", {}).status == 200
        assert len(receiver.received) == 1


def test_an_authority_file_that_is_not_there_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    endpoint = Endpoint(
        "https://hooks.example/", allow=LOCAL, ca_file=tmp_path / "no.pem", resolve=lambda host, port: ("127.0.0.1",)
    )
    with pytest.raises(NotifyFailed, match="cannot be read") as failed:
        endpoint.post(b"", {})
    assert not failed.value.temporary


def test_who_asks_to_be_left_alone_is_for_as_long_as_a_page_can_wait() -> None:
    for asked, taken in (("7", 7), ("999999999", 300), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None)):
        with (
            receiving(receivers.status(429, retry_after=asked)) as receiver,
            pytest.raises(NotifyFailed) as failed,
        ):
            Webhook(local(receiver), CLOCK, KEY.sign).tell(message())
        assert failed.value.retry_after_s == taken


def test_a_certificate_of_another_name_or_authority_is_not_trusted(tmp_path: Path) -> None:
    tls, ca_file = receivers.authority(tmp_path)
    with receiving(tls=tls) as receiver:
        for url, trusted in (("https://other.example", ca_file), ("https://hooks.example", None)):
            endpoint = Endpoint(
                f"{url}:{receiver.port}/", allow=LOCAL, ca_file=trusted, resolve=lambda host, port: ("127.0.0.1",)
            )
            with pytest.raises(NotifyFailed, match="not trusted") as failed:
                endpoint.post(b"{}", {})
            assert not failed.value.temporary
        assert receiver.received == []


def test_no_proxy_that_the_environment_names_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert local(receiver).post(b"{}", {}).status == 200
        assert proxy.received == []


def test_a_receiver_that_is_down_is_tried_again_later() -> None:
    with receiving() as receiver:
        endpoint = local(receiver)
    with pytest.raises(NotifyFailed) as failed:
        endpoint.post(b"{}", {})
    assert failed.value.temporary


# ---- what each of them is told -------------------------------------------------------------------------------


@pytest.mark.requirement("R10.46")
def test_a_webhook_is_signed_under_the_same_id_at_every_attempt() -> None:
    shared = base64.b64encode(b"k" * 32).decode()
    with receiving() as receiver:
        hook = Webhook(local(receiver), CLOCK, KEY.sign, lambda: f"whsec_{shared}")
        for _ in range(2):
            hook.tell(message())
        first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == "page-77"
    signed = f"page-77.{first.headers['webhook-timestamp']}.".encode() + first.body
    ed25519, shared_mac = (each.partition(",")[2] for each in first.headers["webhook-signature"].split(" "))
    assert keys.verify(KEY.public, signed, base64.b64decode(ed25519))
    assert base64.b64decode(shared_mac) == hmac.new(b"k" * 32, signed, hashlib.sha256).digest()
    assert not keys.verify(KEY.public, signed + b" ", base64.b64decode(ed25519))
    assert first.json["data"]["checkpoint"].startswith("failwell/x\n7\n")


def test_a_key_that_would_be_read_otherwise_than_it_was_signed_goes_out_under_no_signature() -> None:
    """Attack: the id is signed between dots: with dots in it, part of it could be read as the time."""
    with receiving() as receiver:
        for key in ("page.1", "page\r\nX: 1", ""):
            with pytest.raises(InputError):
                Webhook(local(receiver), CLOCK, KEY.sign).tell(message(key=key))
        assert receiver.received == []


def test_pagerduty_is_told_of_one_incident_under_one_key() -> None:
    with receiving(receivers.pagerduty) as receiver:
        pager = pagerduty.PagerDuty(local(receiver), CLOCK, lambda: "R0UT1NG\n")
        for action in ("trigger", "acknowledge", "resolve"):
            pager.tell(message(action=action))
    events = [each.json for each in receiver.received]
    assert [event["event_action"] for event in events] == ["trigger", "acknowledge", "resolve"]
    assert {event["dedup_key"] for event in events} == {"failwell-x-1"}
    assert {event["routing_key"] for event in events} == {"R0UT1NG"}
    assert events[0]["payload"]["severity"] == "critical"
    assert "payload" not in events[1]


@pytest.mark.parametrize(
    "behave",
    [
        receivers.status(200, b"<html>welcome</html>"), receivers.status(202, b"{}"),
        receivers.status(202, b"nonsense"),
        receivers.status(202, b'{"status":"success","dedup_key":"another"}'),
    ],
)  # fmt: skip
@pytest.mark.requirement("R10.44")
def test_whoever_says_yes_without_being_pagerduty_has_taken_nothing(behave: receivers.Behave) -> None:
    """Attack: a captive portal, or whatever stands there, answers 200 to everything."""
    with receiving(behave) as receiver, pytest.raises(NotifyFailed) as failed:
        pagerduty.PagerDuty(local(receiver), CLOCK, lambda: "key").tell(message())
    assert failed.value.temporary


@pytest.mark.requirement("R10.45")
def test_slack_takes_it_only_with_its_own_word_and_an_agents_words_mention_nobody() -> None:
    with receiving() as receiver:
        Slack(lambda: local(receiver), CLOCK).tell(message(subject="<!channel> look"))
        post = receiver.received[0].json
        assert post["text"].startswith("&lt;!channel&gt;")
        assert {block["text"]["type"] for block in post["blocks"] if "text" in block} == {"plain_text"}
        assert "\x1b" not in json.dumps(post)
        receiver.behave = receivers.status(200, b"invalid_payload")
        with pytest.raises(NotifyFailed):
            Slack(lambda: local(receiver), CLOCK).tell(message())
    assert len(slack.post_of(message(text="x" * 9000))["blocks"][1]["text"]["text"]) <= 3000


@pytest.mark.requirement("R10.47", "R10.48")
def test_a_terminal_gets_printable_text_and_only_where_its_user_allows_it(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    try:
        name = os.ttyname(follower)
        where = tmp_path / "pts"
        where.mkdir()
        (where / "7").symlink_to(name)
        os.chmod(name, 0o600)
        with pytest.raises(NotifyFailed, match="nobody is logged in"):
            Terminal((), CLOCK, where).tell(message())
        os.chmod(name, 0o620)
        Terminal((), CLOCK, where).tell(message())
        said = os.read(leader, 4096).decode()
        assert "refund-bot suspended" in said
        assert "\x1b" not in said
        assert said.count("\a") == 1
    finally:
        os.close(leader)
        os.close(follower)


def test_a_machine_without_a_screen_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotifyFailed) as failed:
        Desktop(CLOCK, 1.0).tell(message())
    assert "libnotify-bin" in str(failed.value.hint)


@pytest.mark.requirement("R10.51")
def test_a_screen_is_given_text_without_markup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "notify-send"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/said\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    Desktop(CLOCK, 5.0).tell(message(subject="--help", text="<a href='https://evil.example'>take it</a>\n\\74b\\76"))
    said = (tmp_path / "said").read_text().split("\n")
    shown = ["&lt;a href='https://evil.example'&gt;take it&lt;/a&gt;", r"\\74b\\76", "https://failwell.example/a/t"]
    assert said[-5:-1] == ["--help", *shown], r"notify-send reads \\ as one, and \74 as <"
    assert said[said.index("--help") - 1] == "--", "what an agent wrote is no option"


@pytest.mark.parametrize("code", [200, 202, 400, 500])
@pytest.mark.requirement("R10.43")
def test_what_a_receiver_repeats_of_secrets_stands_in_no_entry(code: int) -> None:
    """Attack: a service explains what it did not like by quoting it, and the key, or the link and the code that answer
    a page, come to stand in an entry that others may read.
    """
    link, reply = "https://failwell.example/a/eyJhbGciOi.eyJpc3MiOi.c2lnbmF0dXJl9", "ABCD-EFGH-JKMN-PQRS"
    told = message(link=link, text=f"Reply with {reply}")
    said = []
    with receiving(receivers.echo(code)) as receiver:
        secret = Endpoint(f"http://127.0.0.1:{receiver.port}/services/T00000000/B00000000/kXq9ZsecretZZZ", allow=LOCAL)
        for channel in (
            pagerduty.PagerDuty(local(receiver), CLOCK, lambda: "R0UT1NGK3Y0123456789"),
            Slack(lambda: secret, CLOCK),
            Webhook(secret, CLOCK, KEY.sign),
        ):
            try:
                said.append(channel.tell(told).detail)
            except NotifyFailed as failed:
                said.append(f"{failed.message} {failed.hint}")
        sent = " ".join(each.path + each.body.decode() for each in receiver.received)
    assert len(said) == 3
    for word in ("R0UT1NGK3Y0123456789", "kXq9ZsecretZZZ", "eyJpc3MiOi", "c2lnbmF0dXJl9", reply):
        assert word in sent
        assert not any(word in each for each in said)
    if code == 400:
        assert all("400" in each for each in said), "what it says otherwise is told"


def test_what_a_receiver_says_stands_in_one_clean_line() -> None:
    bad = receivers.status(500, b"bad\r\nX: \x1b[31m" + b"y" * 5000)
    with receiving(bad) as receiver, pytest.raises(NotifyFailed) as failed:
        expect(local(receiver).post(b"{}", {}), "there", lambda answer: False)
    assert "\x1b" not in failed.value.message
    assert "\n" not in failed.value.message
    assert len(failed.value.message) < 300


def test_an_answer_that_the_deadline_cuts_off_in_its_header_is_none() -> None:
    """Attack: 200 at once, and then a header without end; what is cut off there reads like an answer that ended."""

    def endless(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        handler.wfile.flush()
        handler.server.owner.over.wait(5)

    with receiving(endless) as receiver, pytest.raises(NotifyFailed) as failed:
        local(receiver, 0.5).post(b"{}", {})
    assert failed.value.temporary
