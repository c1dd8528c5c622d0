"""The witness that reads a tool's file of JSON lines: nothing lost, nothing read twice, a cut log noticed."""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from failwell.core.errors import Corrupt, InputError, NotFound, Unhealthy
from failwell.effects import jsonl, open_reader
from failwell.effects.settings import JsonLines
from failwell.ports.effects import Effect, EffectReader

SETTINGS = JsonLines(
    witness="shop-log", path="log.jsonl", tool="notices.send", at="at", ref="id", customer="to", action="call"
)
AT = "2026-11-23T05:00:00.000000Z"


def line(number: int, **changes: Any) -> bytes:
    fields = {
        "at": "2026-11-23T05:00:00Z",
        "id": f"n-{number}",
        "to": f"c{number % 3}",
        "call": None,
        **changes,
    }
    return json.dumps(fields).encode() + b"\n"


def reader(tmp_path: Path, settings: JsonLines = SETTINGS) -> EffectReader:
    return open_reader(settings, tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"")
    return path


def append(log: Path, data: bytes) -> None:
    with log.open("ab") as stream:
        stream.write(data)


def test_a_line_becomes_an_effect_with_the_digest_of_its_bytes(tmp_path: Path, log: Path) -> None:
    raw = line(1, call="call-7")
    append(log, raw)
    effects, _ = reader(tmp_path).read(None)
    assert effects == [
        Effect(
            witness="shop-log",
            ref="n-1",
            tool="notices.send",
            at=AT,
            customer="c1",
            action="call-7",
            digest=hashlib.sha256(raw).hexdigest(),
        )
    ]


def test_an_empty_log_is_no_effects_and_a_missing_one_is_an_error(tmp_path: Path, log: Path) -> None:
    effects, cursor = reader(tmp_path).read(None)
    assert effects == []
    assert reader(tmp_path).read(cursor) == ([], cursor)
    log.unlink()
    with pytest.raises(NotFound, match="shop-log: there is no log"):
        reader(tmp_path).read(None)


def test_a_torn_last_line_waits_until_it_is_whole(tmp_path: Path, log: Path) -> None:
    append(log, line(1) + line(2)[:-5])
    effects, cursor = reader(tmp_path).read(None)
    assert [effect.ref for effect in effects] == ["n-1"]
    assert reader(tmp_path).read(cursor) == ([], cursor)
    append(log, line(2)[-5:])
    effects, _ = reader(tmp_path).read(cursor)
    assert [(effect.ref, effect.fault) for effect in effects] == [("n-2", None)]


def test_no_line_is_lost_or_read_twice_however_the_writing_is_torn(
    tmp_path: Path, log: Path, rng: random.Random
) -> None:
    data = b"".join(line(number) for number in range(2_500))
    cursor, seen, written = None, [], 0
    while written < len(data):
        step = rng.randrange(1, 20_000)
        append(log, data[written : written + step])
        written += step
        effects, cursor = reader(tmp_path).read(cursor)
        seen += [effect.ref for effect in effects]
    while True:
        effects, cursor = reader(tmp_path).read(cursor)
        if not effects:
            break
        assert len(effects) <= 1_000
        seen += [effect.ref for effect in effects]
    assert seen == [f"n-{number}" for number in range(2_500)]


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"\n", "not JSON"),
        (b"garbage\n", "not JSON"),
        (b"[1,2]\n", "not a JSON object"),
        (b'{"id":"a","id":"b"}\n', "twice"),
        (b'\xff\xfe"\n', "UTF-8"),
        (b'{"a":' + b"[" * 1000 + b"\n", "JSON|deep"),
        (line(1, id=None), "id is not a text"),
        (line(1, id=True), "id is not a text"),
        (line(1, id="x" * 201), "id is not a text"),
        (line(1, to="a\nBcc: b"), "to is not a text"),
        (line(1, at="2026-11-23T05:00:00"), "at is not a time"),
        (line(1, at=5), "at is not a time"),
        (b'{"at":"2026-11-23T05:00:00Z","id":"n-1","to":"c"}\n', "call is missing"),
        (b"x" * (jsonl.MAX_LINE_BYTES + 70_000) + b"\n", "too long"),
        (b"x" * jsonl.MAX_LINE_BYTES + b"\n", "bytes"),
    ],
)
def test_garbage_in_the_log_is_counted_and_does_not_blind_the_witness(
    tmp_path: Path, log: Path, raw: bytes, fault: str
) -> None:
    append(log, line(1) + raw + line(2))
    effects, cursor = reader(tmp_path).read(None)
    assert [effect.ref for effect in effects] == ["n-1", f"byte:{len(line(1))}", "n-2"]
    assert effects[1].digest == hashlib.sha256(raw).hexdigest()
    assert (effects[1].at, effects[1].customer, effects[1].action) == (None, None, None)
    assert any(part in str(effects[1].fault) for part in fault.split("|"))
    assert reader(tmp_path).read(cursor) == ([], cursor)


def test_an_endless_torn_line_is_not_held_in_memory_nor_taken_for_a_line(tmp_path: Path, log: Path) -> None:
    append(log, line(1) + b"x" * (jsonl.MAX_LINE_BYTES + 300_000))
    effects, cursor = reader(tmp_path).read(None)
    assert [effect.ref for effect in effects] == ["n-1"]
    append(log, b"\n" + line(2))
    effects, _ = reader(tmp_path).read(cursor)
    assert [effect.ref for effect in effects] == [f"byte:{len(line(1))}", "n-2"]


def test_a_log_that_was_cut_is_reported(tmp_path: Path, log: Path) -> None:
    append(log, line(1) + line(2))
    _, cursor = reader(tmp_path).read(None)
    os.truncate(log, len(line(1)))
    with pytest.raises(Corrupt, match=r"bytes, .* were read before") as caught:
        reader(tmp_path).read(cursor)
    assert caught.value.code == "log-cut"


@pytest.mark.parametrize("after_cut", [line(3), line(3) + line(4), line(2, id="n-9"), b""])
def test_a_log_cut_and_written_again_is_reported_at_any_length(tmp_path: Path, log: Path, after_cut: bytes) -> None:
    append(log, line(1) + line(2))
    _, cursor = reader(tmp_path).read(None)
    log.write_bytes(line(1) + after_cut)
    with pytest.raises(Corrupt, match="was cut"):
        reader(tmp_path).read(cursor)


def test_a_log_replaced_by_another_or_taken_away_is_reported(tmp_path: Path, log: Path) -> None:
    append(log, line(1))
    _, cursor = reader(tmp_path).read(None)
    log.unlink()
    with pytest.raises(Corrupt, match="it is gone"):
        reader(tmp_path).read(cursor)
    log.write_bytes(line(7) + line(8))
    with pytest.raises(Corrupt, match="is not the one"):
        reader(tmp_path).read(cursor)


def test_a_cut_behind_the_last_whole_line_is_no_cut(tmp_path: Path, log: Path) -> None:
    append(log, line(1) + b'{"torn')
    _, cursor = reader(tmp_path).read(None)
    os.truncate(log, len(line(1)))
    assert reader(tmp_path).read(cursor) == ([], cursor)


@pytest.mark.parametrize("cursor", ["", "5", "0:0:", "5:6:" + "0" * 64, "-1:0:" + "0" * 64, "1:1:" + "0" * 64 + "\n"])
def test_a_foreign_cursor_is_refused(tmp_path: Path, log: Path, cursor: str) -> None:
    with pytest.raises(InputError, match="not a cursor"):
        reader(tmp_path).read(cursor)


def test_a_directory_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(Unhealthy, match="directory"):
        reader(tmp_path).read(None)


@pytest.mark.parametrize(
    ("value", "unit", "at"),
    [
        ("2026-11-23T06:00:00.5+01:00", "rfc3339", "2026-11-23T05:00:00.500000Z"),
        (1795410000, "s", "2026-11-23T05:00:00.000000Z"),
        (1795410000.25, "s", "2026-11-23T05:00:00.250000Z"),
        (1795410000123, "ms", "2026-11-23T05:00:00.123000Z"),
        (1795410000123456, "us", "2026-11-23T05:00:00.123456Z"),
        (0, "s", "1970-01-01T00:00:00.000000Z"),
        (-1, "s", None),
        (1e300, "s", None),
        (10**15, "s", None),
        ("1795410000", "s", None),
        (True, "s", None),
        ("9999-12-31T23:59:59-23:59", "rfc3339", None),
        ("0001-01-01T00:00:00+23:59", "rfc3339", None),
        ("2026-11-23", "rfc3339", None),
        ("", "rfc3339", None),
    ],
)
def test_the_tools_time_is_read_as_declared_or_not_at_all(
    tmp_path: Path, log: Path, value: object, unit: Any, at: str | None
) -> None:
    append(log, line(1, at=value))
    settings = JsonLines(witness="w", path="log.jsonl", tool="t", at="at", at_unit=unit)
    ((effect,), _) = reader(tmp_path, settings).read(None)
    assert effect.at == at
    assert (effect.fault is None) == (at is not None)
    assert effect.ref == "byte:0"
