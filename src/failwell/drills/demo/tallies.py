"""The shop's and the mail server's own logs, counted by themselves: what the ledger's figures are held against.

Reads the two kinds of log directly, with no part of Failwell between. One notice that both logs name is one effect;
one that only the mail server names was sent by a process that was killed before it could note it.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from failwell.core.instants import parse_at
from failwell.drills.demo import story


class Notice(NamedTuple):
    """One notice that reached a customer: its number, whom, when first seen, and which logs name it."""

    number: str
    customer: str
    at_us: int
    seen_by: frozenset[str]


def read_logs(shop: Path, mail: Path) -> tuple[Notice, ...]:
    """Every notice in the logs below the two directories, in the order of time."""
    found: dict[str, Notice] = {}
    for witness, number, customer, at in [*_shop_rows(shop), *_mail_lines(mail)]:
        at_us = parse_at(at)
        known = found.get(number, Notice(number, customer, at_us, frozenset()))
        found[number] = Notice(number, customer, min(known.at_us, at_us), known.seen_by | {witness})
    return tuple(sorted(found.values(), key=lambda notice: notice.at_us))


def count_lines(shop: Path, mail: Path) -> dict[str, int]:
    """Lines or rows of each log, by the name of the witness that reads it."""
    rows = [witness for witness, *_ in [*_shop_rows(shop), *_mail_lines(mail)]]
    return {name: rows.count(name) for name in (*story.SHOP_LOGS, *story.MAIL_LOGS)}


def _shop_rows(shop: Path) -> list[tuple[str, str, str, str]]:
    rows = []
    with closing(sqlite3.connect(shop / story.SHOP_DATABASE, timeout=10)) as database:
        for witness, (table, _) in story.SHOP_LOGS.items():
            query = f"SELECT id, customer, sent_at FROM {table}"  # noqa: S608
            rows += [(witness, *row) for row in database.execute(query)]
    return rows


def _mail_lines(mail: Path) -> list[tuple[str, str, str, str]]:
    lines = []
    for witness, (account, _) in story.MAIL_LOGS.items():
        path = mail / f"{account}.jsonl"
        if path.exists():
            logged = [json.loads(line) for line in path.read_bytes().splitlines()]
            lines += [(witness, str(each["id"]), str(each["customer"]), str(each["at"])) for each in logged]
    return lines
