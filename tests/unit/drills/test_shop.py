"""The shop and its mail server: real mail, two logs that agree, and what only one of them can know."""

from __future__ import annotations

import json
import smtplib
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from failwell.core.instants import parse_at
from failwell.drills.demo import shop, story, tallies
from failwell.effects import open_reader
from failwell.node.settings import parse_settings
from tests.unit.drills.world import mail_server, open_shop


def wait_for_lines(path: Path, count: int) -> list[dict[str, str]]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if path.exists() and len(lines := path.read_text().splitlines()) >= count:
            return [json.loads(line) for line in lines]
        time.sleep(0.01)
    raise AssertionError(f"{path} has no {count} lines")


def test_a_notice_is_one_mail_and_one_row_under_one_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILWELL_ACTION", "failwell/abc/17")
    with open_shop(tmp_path) as (here, mail):
        number = shop.send_notice("k-1", story.NOTICE)["sent"]
        line = json.loads((mail / "notices.jsonl").read_text())
        with closing(sqlite3.connect(here / story.SHOP_DATABASE)) as database:
            rows = database.execute("SELECT id, customer, notice, failwell_action FROM notice").fetchall()
        counted = tallies.read_logs(here, mail)
    assert rows == [(number, "k-1", story.NOTICE, "failwell/abc/17")]
    assert (line["id"], line["customer"], line["failwell_action"]) == (number, "k-1", "failwell/abc/17")
    assert line["at"] <= line["taken_at"]
    assert [(each.number, each.customer, each.seen_by) for each in counted] == [
        (number, "k-1", frozenset({"shop", "mail-log"}))
    ]


def test_a_bulk_send_reaches_everybody_on_its_list_from_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop, "BULK_PAUSE_S", 0.001)
    with open_shop(tmp_path) as (here, mail):
        assert shop.send_bulk(["k-1", "k-2", "k-1"], story.NOTICE) == {"sent": 3}
        assert [notice.customer for notice in tallies.read_logs(here, mail)] == ["k-1", "k-2", "k-1"]
        assert tallies.count_lines(here, mail) == {"shop": 0, "shop-bulk": 3, "mail-log": 0, "mail-log-bulk": 3}


def test_a_bulk_send_whose_child_fails_is_a_failed_send(tmp_path: Path) -> None:
    with open_shop(tmp_path) as (here, _):
        (here / "shop.json").write_text('{"smtp_port": 1}')
        with pytest.raises(RuntimeError, match="bulk send failed"):
            shop.send_bulk(["k-1"], story.NOTICE)


def test_the_node_reads_both_logs_as_its_settings_name_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILWELL_ACTION", "failwell/abc/17")
    with open_shop(tmp_path) as (_, __):
        number = shop.send_notice("k-1", story.NOTICE)["sent"]
        settings = parse_settings(story.settings_text(2525))
        (tmp_path / "workspace").mkdir()
        seen = {
            name: open_reader(witness.log(name), tmp_path / "workspace").read(None)[0]
            for name, witness in settings.witness.items()
            if name in ("shop", "mail-log")
        }
    for effects in seen.values():
        assert [(e.ref, e.tool, e.customer, e.action, e.fault) for e in effects] == [
            (number, story.SEND, "k-1", "failwell/abc/17", None)
        ]


def test_mail_to_people_is_kept_whole(tmp_path: Path) -> None:
    with mail_server(tmp_path) as port, smtplib.SMTP("127.0.0.1", port, local_hostname="x.example") as server:
        server.sendmail("a@b.example", [story.OWNER_MAIL], b"Subject: hello\r\n\r\ntext\r\n")
        assert b"text" in (tmp_path / "kept-1.eml").read_bytes()
        assert list(tmp_path.glob("*.jsonl")) == []


def test_an_account_that_the_server_does_not_know_sends_nothing_to_customers(tmp_path: Path) -> None:
    """Attack: a sender named like a path, so that its log would lie elsewhere."""
    with mail_server(tmp_path) as port, smtplib.SMTP("127.0.0.1", port, local_hostname="x.example") as server:
        for sender in ("../notices@shop.example", "stranger@shop.example"):
            with pytest.raises(smtplib.SMTPDataError):
                server.sendmail(sender, [f"k-1@{story.CUSTOMER_DOMAIN}"], b"Subject: x\r\n\r\nx\r\n")
    assert list(tmp_path.iterdir()) == []


def test_a_mail_whose_sender_died_after_sending_it_counts_at_the_time_when_it_still_lived(tmp_path: Path) -> None:
    with mail_server(tmp_path) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            for line in (b"HELO x", b"MAIL FROM:<bulk@shop.example>", b"RCPT TO:<k-1@customers.shop.example>", b"DATA"):
                client.recv(1024)
                client.sendall(line + b"\r\n")
            assert client.recv(1024).startswith(b"354")
            lived_until_us = time.time_ns() // 1000
            client.sendall(b"X-Shop-Notice: n1\r\n\r\ntext\r\n.\r\n")
        logged = wait_for_lines(tmp_path / "bulk.jsonl", 1)[0]
    assert logged["id"] == "n1"
    assert parse_at(logged["at"]) <= lived_until_us


def test_a_mail_that_was_cut_off_is_no_effect(tmp_path: Path) -> None:
    with mail_server(tmp_path) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            for line in (b"HELO x", b"MAIL FROM:<bulk@shop.example>", b"RCPT TO:<k-1@customers.shop.example>", b"DATA"):
                client.recv(1024)
                client.sendall(line + b"\r\n")
            client.recv(1024)
            client.sendall(b"X-Shop-Notice: n1\r\n\r\nte")
        with smtplib.SMTP("127.0.0.1", port, local_hostname="x.example") as server:
            server.sendmail("bulk@shop.example", ["k-2@customers.shop.example"], b"X-Shop-Notice: n2\r\n\r\nx\r\n")
        assert [line["id"] for line in wait_for_lines(tmp_path / "bulk.jsonl", 1)] == ["n2"]
