"""The stand-alone verifier as the person meets it who trusts nobody: what it says, what it refuses, and how it ends."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from failwell.core import canonical
from failwell.identity import keys
from failwell.node import audit
from failwell.offline import command, signatures
from failwell.storage import sqlite
from failwell.verify import ed25519
from tests.unit.offline.conftest import Verify
from tests.unit.verify.forgery import Forger, Image
from tests.unit.verify.hand_log import A, shop
from tests.unit.verify.ledgers import AGENT
from tests.unit.verify.logs import OTHER, Log, Pair

NOT_HERE = {8, 9, 10, 12}


def snapshot(path: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(each.relative_to(path)): (each.read_bytes(), each.stat().st_mtime_ns)
        for each in sorted(path.rglob("*")) if each.is_file()
    }  # fmt: skip


def store(log: Log, path: Path) -> Path:
    """A ledger file with the rows of a log made by hand."""
    sqlite.create(path)
    with sqlite3.connect(path) as connection:
        connection.executemany("INSERT INTO entry VALUES (?, ?, ?, ?)", log.rows())
        connection.execute("INSERT INTO checkpoint VALUES (1, ?, ?)", (log.size, log.sign(log.size, log.pair)))
    connection.close()
    return path


def key_file(path: Path, text: str) -> Path:
    path.write_text(text + "\n")
    return path


# ---- honest ------------------------------------------------------------------------------------------------------


def test_an_honest_workspace_verifies_with_the_findings_and_steps_of_ledger_verify(
    workspace: Path, verify: Verify
) -> None:
    report = audit.verify_workspace(workspace).as_dict()
    run = verify(workspace, "--json")
    assert (run.code, run.err) == (0, "")
    for name in ("schema", "ok", "origin", "entries", "good", "unsealed", "tree", "first_bad", "findings", "counts"):
        assert run.told[name] == report[name]
    for ours, theirs in zip(run.told["checks"], report["checks"], strict=True):
        assert (ours["number"], ours["says"]) == (theirs["number"], theirs["says"])
        if ours["number"] not in NOT_HERE:
            assert ours["state"] == theirs["state"]
            # What its own guard remembers only the workspace's own command can read.
            assert theirs["detail"].startswith(ours["detail"])
        else:
            assert ours["state"] == "not checkable"


def test_nothing_is_written_where_the_record_lies(workspace: Path, verify: Verify) -> None:
    before = snapshot(workspace)
    assert verify(workspace).code == 0
    assert verify(workspace / "ledger.db", "--hash-only").code == 0
    assert snapshot(workspace) == before


def test_people_are_told_what_was_checked_by_what_and_what_was_not(workspace: Path, verify: Verify) -> None:
    run = verify(workspace)
    assert run.code == 0
    assert run.out.startswith("The record verifies, as far as it can be verified alone:")
    for words in ("re-written whole", "lay beside the record", "Mode: full", " 9 not checkable", "/s.",
                  "failwell ledger verify", "Ed25519: cryptography"):  # fmt: skip
        assert words in run.out
    assert f"Ed25519: {signatures.OWN}" in verify(workspace, "--own-ed25519").out


def test_hashes_only_claims_no_more_than_hashes(workspace: Path, verify: Verify) -> None:
    run = verify(workspace, "--hash-only", "--json")
    assert (run.code, run.told["mode"]) == (0, "hash-only")
    proved = {step["number"] for step in run.told["checks"] if step["state"] == "proved"}
    assert proved == {4, 6, 14}
    assert "What they say was not looked at" in verify(workspace, "--hash-only").out


def test_a_checkpoint_that_was_kept_is_held_against_the_record(workspace: Path, tmp_path: Path, verify: Verify) -> None:
    image = Image(workspace)
    forger = Forger(image)
    kept = tmp_path / "mail.eml"
    kept.write_bytes(b"Subject: an incident\n\n> see below\n" + forger.sign(40, forger.root(40)) + b"\n")
    run = verify(workspace, "--checkpoint", kept, "--json")
    assert (run.code, run.state(7)) == (0, "proved")
    kept.write_bytes(forger.sign(40, forger.root(39)))
    for mode in ((), ("--hash-only",)):
        assert verify(workspace, "--checkpoint", kept, *mode).code == 1
    kept.write_text("no checkpoint at all")
    assert verify(workspace, "--checkpoint", kept).code == 2


def test_the_first_lines_say_what_a_given_checkpoint_shows_and_what_it_does_not(
    workspace: Path, tmp_path: Path, verify: Verify
) -> None:
    forger = Forger(Image(workspace))
    kept = tmp_path / "mail.eml"
    kept.write_bytes(forger.sign(20, forger.root(20)))
    agrees = verify(workspace, "--checkpoint", kept)
    assert "It agrees with what another party kept: 1 checkpoint." in agrees.out.splitlines()
    assert "Grade B for the first 20 entries" in agrees.out
    assert "Not checked here: steps 8, 9, 10, 12" in agrees.out
    assert "Grade C for the first" in verify(workspace).out
    kept.write_bytes(kept.read_bytes().replace(b"\n20\n", b"\n21\n"))
    apart = verify(workspace, "--checkpoint", kept)
    assert apart.code == 1
    assert "DO NOT BELONG TOGETHER" in apart.out.splitlines()[0]
    assert "DOES NOT VERIFY" not in apart.out


def test_a_checkpoint_that_an_extract_cannot_be_held_against_is_said_first(tmp_path: Path, verify: Verify) -> None:
    log = shop()
    path, kept = tmp_path / "ada.json", tmp_path / "kept.note"
    path.write_bytes(log.extract(A).encode())
    kept.write_bytes(log.head(3))
    key = key_file(tmp_path / "log.pub", log.pair.text)
    run = verify(path, "--key", key, "--checkpoint", kept)
    assert run.code == 0
    assert any(line.startswith("NOT HELD AGAINST WHAT ANOTHER PARTY KEPT") for line in run.out.splitlines()[:3])
    assert A in run.out.splitlines()[0]


def test_a_checkpoint_given_in_the_place_of_the_record_is_wrong_usage(
    workspace: Path, tmp_path: Path, verify: Verify
) -> None:
    forger = Forger(Image(workspace))
    kept = tmp_path / "mail.eml"
    kept.write_bytes(b"Subject: an incident\n\n" + forger.sign(20, forger.root(20)))
    run = verify(kept, "--key", workspace / "keys" / "log.pub")
    assert run.code == 2
    assert "--checkpoint" in run.err


# ---- keys --------------------------------------------------------------------------------------------------------


def test_without_a_key_it_refuses_unless_told_to_do_without(workspace: Path, tmp_path: Path, verify: Verify) -> None:
    alone = Path(shutil.copy(workspace / "ledger.db", tmp_path / "alone.db"))
    run = verify(alone)
    assert run.code == 2
    assert "--without-key" in run.err
    run = verify(alone, "--without-key")
    assert run.code == 0
    assert "WITHOUT A KEY NOTHING SHOWS WHOSE RECORD IT IS" in run.out
    assert verify(alone, "--without-key", "--json").state(6) == "not checkable"
    assert verify(alone, "--without-key", "--key", workspace / "keys" / "log.pub").code == 2
    assert verify(alone, "--key", workspace / "keys" / "log.pub").code == 0


def test_another_logs_key_or_none_at_all(workspace: Path, tmp_path: Path, verify: Verify) -> None:
    stranger = key_file(tmp_path / "stranger.pub", Pair(9).text)
    for mode in ((), ("--hash-only",)):
        run = verify(workspace, "--key", stranger, *mode)
        assert run.code == 1
        assert "DOES NOT VERIFY" in run.out
    for text in ("", "no key", "a+b+c", "\N{EM DASH}"):
        assert verify(workspace, "--key", key_file(tmp_path / "bad.pub", text)).code == 2
    assert verify(workspace, "--key", tmp_path / "absent").code == 2
    (tmp_path / "bad.pub").write_bytes(b"\xff\xfe")
    assert verify(workspace, "--key", tmp_path / "bad.pub").code == 2


def test_a_key_from_before_the_log_changed_its_name_vouches_for_nothing_after_it(
    tmp_path: Path, verify: Verify
) -> None:
    """No fault in the record, and yet who asked by that key is not shown that it is the one they know."""
    log = Log(Pair(1))
    log.fill(5)
    log.go_on(Pair(4, OTHER))
    log.fill(3)
    path = store(log, tmp_path / "log.db")
    old, new = (key_file(tmp_path / f"{pair.verifier.key_id.hex()}.pub", pair.text) for pair in (Pair(1), log.pair))
    run = verify(path, "--key", old, "--json", "--hash-only")
    assert (run.code, run.told["ok"], run.told["counts"], run.state(6)) == (1, False, {}, "not checkable")
    assert verify(path, "--key", old, "--hash-only").out.startswith("NOT SHOWN WHOSE RECORD THIS IS")
    assert verify(path, "--key", new, "--hash-only").code == 0


# ---- wrong usage, and what cannot be read ------------------------------------------------------------------------


def test_what_is_nothing_that_could_be_verified_is_wrong_usage(tmp_path: Path, verify: Verify) -> None:
    assert verify(tmp_path / "absent").code == 2
    assert verify(tmp_path).code == 2
    assert verify().code == 2
    assert verify(tmp_path, "--unknown").code == 2
    run = verify(tmp_path / "absent", "--json")
    assert json.loads(run.out)["error"]["code"] == "input"


@pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\0" + bytes(200), b"\0" * 5000])
@pytest.mark.parametrize("mode", ["--json", "--hash-only"])
def test_a_file_that_is_no_ledger_is_a_finding(content: bytes, mode: str, workspace: Path, verify: Verify) -> None:
    (workspace / "ledger.db").write_bytes(content)
    run = verify(workspace, "--json", mode)
    assert run.code == 1
    assert run.told["counts"]


def test_a_ledger_that_is_gone_is_a_finding_and_no_usage_error(workspace: Path, verify: Verify) -> None:
    (workspace / "ledger.db").unlink()
    run = verify(workspace, "--json")
    assert (run.code, list(run.told["counts"])) == (1, ["file.unreadable"])


def test_a_view_in_the_place_of_the_entries_is_not_read(workspace: Path, verify: Verify) -> None:
    with sqlite3.connect(workspace / "ledger.db") as connection:
        connection.execute("ALTER TABLE entry RENAME TO hidden")
        connection.execute("CREATE VIEW entry AS SELECT * FROM hidden")
    connection.close()
    for mode in ((), ("--hash-only",)):
        assert verify(workspace, *mode, "--json").told["counts"]["entry.unreadable"] == 1


def test_bytes_flipped_anywhere_in_the_file_never_end_in_a_traceback(
    workspace: Path, verify: Verify, rng: random.Random
) -> None:
    path = workspace / "ledger.db"
    honest = path.read_bytes()
    codes = []
    for _ in range(60):
        changed = bytearray(honest)
        for _ in range(rng.choice((1, 3, 40))):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(changed[: rng.choice((len(changed), len(changed), rng.randrange(len(changed))))]))
        for mode in ((), ("--hash-only",)):
            codes.append(verify(workspace, *mode).code)
    assert set(codes) <= {0, 1}
    assert codes.count(1) > 60


# ---- what a record may hold ---------------------------------------------------------------------------------------


def test_a_kind_that_is_not_known_is_said_and_is_no_finding(tmp_path: Path, verify: Verify) -> None:
    log = Log()
    log.add("from.the.future", colour="green")
    log.add("\x1b[31mevil\x07", agent=A)
    key = key_file(tmp_path / "log.pub", log.pair.text)
    path = store(log, tmp_path / "future.db")
    run = verify(path, "--key", key)
    assert run.code == 0
    assert "of kind from.the.future version 1, which is not known to this verifier: bytes, place and hash" in run.out
    assert "\x1b" not in run.out
    assert "\x07" not in run.out
    assert verify(path, "--key", key, "--json").told["unknown_kinds"]["from.the.future 1"] == 1


def test_an_order_that_its_person_did_not_sign(workspace: Path, verify: Verify) -> None:
    """The log key is the forger's too, so every hash and the head are made new: only the person's key is not theirs."""
    forger = Forger(Image(workspace))
    texts = [data for (data,) in forger.sql("SELECT data FROM entry ORDER BY seq")]
    orders = [at for at, data in enumerate(texts) if b'"kind":"order"' in data]
    assert len(orders) > 5
    for at, change in zip(orders[1:], (
        {"signature": "A" * 86 + "=="}, {"signature": "x"}, {"text": "{}"}, {"text": None}, {"person": "quan"},
        {"key": "0" * 16},
    ), strict=False):  # fmt: skip
        entry = json.loads(texts[at])
        entry["body"] |= change
        run = verified(forger, [*texts[:at], canonical.encode(entry), *texts[at + 1 :]], workspace, verify)
        found = [found for found in run["findings"] if found["code"] == "order.signature"]
        assert [each["entry"] for each in found] == [at], change


def test_an_order_of_somebody_who_was_never_enrolled_or_for_another_log(workspace: Path, verify: Verify) -> None:
    forger = Forger(Image(workspace))
    texts = [data for (data,) in forger.sql("SELECT data FROM entry ORDER BY seq")]
    at = next(at for at, data in enumerate(texts) if b'"order":"person.enrol"' in data)
    for field, value, words in (("person", "nemo", "was not enrolled"), ("origin", "failwell/x", "is for log")):
        entry = json.loads(texts[at])
        text = json.loads(entry["body"]["text"]) | {field: value}
        entry["body"]["text"] = canonical.encode(text).decode()
        if field == "person":
            entry["body"]["person"], entry["actor"] = value, f"person:{value}"
        run = verified(forger, [*texts[:at], canonical.encode(entry), *texts[at + 1 :]], workspace, verify)
        found = [found for found in run["findings"] if found["code"] == "order.signature"]
        assert words in found[0]["message"]
        assert found[0]["entry"] == at


def verified(forger: Forger, texts: list[bytes], workspace: Path, verify: Verify) -> dict[str, Any]:
    forger.store_bytes(texts, resign=True)
    (workspace / "ledger.db").write_bytes(forger.db.serialize("main"))
    run = verify(workspace, "--json")
    assert run.code == 1
    return run.told


def test_a_key_of_small_order_signs_nothing_whichever_library_is_asked() -> None:
    for own in (False, True):
        _, check = signatures.choose(own)
        key = keys.from_seed(b"a" * 32)
        assert check(key.public, b"m", key.sign(b"m"))
        assert not check(key.public, b"n", key.sign(b"m"))
        for point in ed25519.SMALL_ORDER:
            for number in range(16):
                assert not check(point, b"%d" % number, point + bytes(32))
        assert not check(b"short", b"m", bytes(64))
        assert not check(key.public, b"m", b"short")


# ---- an extract --------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R16.3")
def test_an_extract_of_one_agent_verifies_and_a_stripped_one_does_not(tmp_path: Path, verify: Verify) -> None:
    log = shop()
    key = key_file(tmp_path / "log.pub", log.pair.text)
    extract = log.extract(A)
    path = tmp_path / "a.json"
    path.write_bytes(extract.encode())
    run = verify(path, "--key", key)
    assert run.code == 0, run.out
    assert run.out.startswith("The extract verifies")
    kept = tmp_path / "kept.note"
    kept.write_bytes(log.head(9))
    assert verify(path, "--key", key, "--checkpoint", kept).code in (0, 1)
    stripped = json.loads(extract.encode())
    del stripped["entries"][3]
    path.write_bytes(canonical.encode(stripped, max_bytes=1 << 28))
    assert verify(path, "--key", key).code == 1
    assert verify(path).code == 2
    assert verify(path, "--without-key").code == 2
    for text in (b"{", b"{}", b'{"schema":"failwell/extract/1"}', b"{" * 100_000):
        path.write_bytes(text)
        run = verify(path, "--key", key, "--json")
        assert (run.code, run.told["schema"]) == (1, "failwell/extract-verify/1")


# ---- how it behaves -----------------------------------------------------------------------------------------------


def test_progress_goes_to_standard_error_and_only_when_it_takes_long(
    workspace: Path, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert verify(workspace).err == ""
    monkeypatch.setattr(command, "_QUIET_S", 0.0)
    monkeypatch.setattr(command, "_TELL_EVERY_S", 0.0)
    run = verify(workspace, "--json")
    assert "entries" in run.err
    assert run.told["ok"]


def test_the_agents_name_is_not_needed_to_verify_it(workspace: Path, verify: Verify) -> None:
    """Blobs stay closed: no argument, reason or result of the agent reaches the output."""
    out = verify(workspace).out + verify(workspace, "--json").out
    assert AGENT not in out
