"""What a guard signs, what it refuses, and how it hands over to the next key."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from failwell.core import note
from failwell.core.errors import Corrupt, InputError
from failwell.guard.keypair import verify
from failwell.guard.sealing import LocalGuard
from failwell.guard.state import FILE_BYTES, FILE_NAME
from failwell.ports.guard import Guard, GuardFailed, GuardLost, GuardMoved, GuardRefused, Sealed
from tests.unit.guard.trees import HONEST, Tree

ORIGIN = "failwell/00112233aabbccdd"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "guards" / "one"


@pytest.fixture
def guard(place: Path) -> LocalGuard:
    return LocalGuard.create(place, ORIGIN)


def grow(guard: Guard, size: int, tree: Tree = HONEST) -> Sealed:
    return guard.seal(size, tree.root(size), tree.path(guard.grown()[0], size), 1.0)


def signer(sealed: Sealed, *keys: str) -> str:
    """Which of the keys signed, after everything else about the note was checked."""
    known = [(note.VerifierKey.parse(key), verify) for key in keys]
    checkpoint = note.open_checkpoint(sealed.note, ORIGIN, known)
    assert (checkpoint.size, checkpoint.root) == sealed[:2]
    (found,) = note.open_note(sealed.note, known).signers
    return found.text()


def test_a_new_guard_has_signed_nothing_and_signs_under_the_logs_name(guard: Guard) -> None:
    assert guard.last() is None
    assert note.VerifierKey.parse(guard.key).name == ORIGIN
    sealed = grow(guard, 5)
    assert signer(sealed, guard.key) == guard.key
    assert guard.last() == sealed


def test_it_signs_every_way_a_log_can_grow(guard: LocalGuard, place: Path) -> None:
    sizes = [0, 1, 2, 3, 4, 7, 8, 9, 16, 31, 100]
    for size in sizes:
        signer(grow(guard, size), guard.key)
    guard.close()
    again = LocalGuard.open(place)
    assert again.last() is not None
    assert again.grown() == (100, HONEST.root(100))
    signer(grow(again, 101), again.key)


def test_asked_again_it_answers_the_same_and_writes_nothing(guard: LocalGuard, place: Path) -> None:
    sealed = grow(guard, 5)
    before = (place / FILE_NAME).read_bytes()
    assert guard.seal(5, HONEST.root(5), [], 1.0) == sealed
    assert guard.seal(5, HONEST.root(5), HONEST.path(3, 5), 1.0) == sealed
    assert (place / FILE_NAME).read_bytes() == before


def test_the_file_never_grows(guard: LocalGuard, place: Path) -> None:
    for size in range(1, 30):
        grow(guard, size)
        assert (place / FILE_NAME).stat().st_size == FILE_BYTES


def test_a_lost_answer_shows_as_what_was_signed_meanwhile(guard: Guard) -> None:
    grow(guard, 5)
    lost = grow(guard, 8)
    with pytest.raises(GuardMoved) as moved:
        guard.seal(9, HONEST.root(9), HONEST.path(5, 9), 1.0, since=5)
    assert moved.value.sealed == lost
    guard.seal(9, HONEST.root(9), HONEST.path(8, 9), 1.0, since=8)


@pytest.mark.parametrize(
    ("size", "root", "path"),
    [(-1, b"\0" * 32, []), (2**53, b"\0" * 32, []), (9, b"\0" * 31, []), (9, b"\0" * 32, [b"\0" * 32] * 129),
     (9, b"\0" * 32, [b"\0" * 31]), (True, b"\0" * 32, []), (0, b"\0" * 32, [])],
)  # fmt: skip
def test_what_is_no_head_is_refused(guard: Guard, size: int, root: bytes, path: list[bytes]) -> None:
    with pytest.raises(GuardRefused):
        guard.seal(size, root, path, 1.0)
    assert guard.last() is None


def test_there_is_never_a_second_guard_where_one_is(guard: LocalGuard, place: Path) -> None:
    with pytest.raises(GuardFailed, match="another guard"):
        LocalGuard.open(place)
    guard.close()
    with pytest.raises(InputError):
        LocalGuard.create(place, ORIGIN)
    LocalGuard.open(place).close()


def test_a_closed_guard_signs_nothing(guard: LocalGuard) -> None:
    guard.close()
    guard.close()
    with pytest.raises(GuardFailed):
        grow(guard, 1)


def test_nothing_is_invented_where_no_guard_is(tmp_path: Path) -> None:
    with pytest.raises(GuardLost, match="no guard"):
        LocalGuard.open(tmp_path / "absent")
    (tmp_path / "empty").mkdir(mode=0o700)
    with pytest.raises(GuardLost, match="no guard"):
        LocalGuard.open(tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize("origin", ["", "two words", "a+b", "a\nb", "x" * 129])
def test_a_name_that_cannot_be_signed_is_refused_before_anything_is_made(place: Path, origin: str) -> None:
    with pytest.raises(InputError):
        LocalGuard.create(place, origin)
    assert not place.exists()


def test_the_longest_name_fits_with_everything_that_can_stand_beside_it(place: Path) -> None:
    origin = "\N{EURO SIGN}" * 42
    guard = LocalGuard.create(place, origin)
    last = 2**53 - 1
    root = HONEST.root(1)
    guard.seal(1, root, [], 1.0)
    guard.confirm(guard.rotate().key, last)
    guard.retire("\N{EURO SIGN}" * 400)
    assert guard.retired == "\N{EURO SIGN}" * 133


# ---- a continued log -----------------------------------------------------------------------------------------------


def test_the_first_head_of_a_continued_log_grows_from_where_it_was_broken_off(place: Path) -> None:
    guard = LocalGuard.create(place, ORIGIN, (6, HONEST.root(6)))
    assert guard.last() is None
    assert guard.grown() == (6, HONEST.root(6))
    with pytest.raises(GuardRefused, match="rollback"):
        guard.seal(5, HONEST.root(5), [], 1.0)
    with pytest.raises(GuardRefused, match="fork"):
        guard.seal(9, Tree("other ").root(9), Tree("other ").path(6, 9), 1.0)
    with pytest.raises(GuardRefused):
        guard.seal(9, HONEST.root(9), [], 1.0, since=0)
    signer(grow(guard, 9), guard.key)


def test_a_start_that_is_no_tree_is_refused(place: Path) -> None:
    for size, root in ((0, b"\1" * 32), (-1, b"\1" * 32), (3, b"")):
        with pytest.raises(InputError):
            LocalGuard.create(place, ORIGIN, (size, root))


# ---- the next key --------------------------------------------------------------------------------------------------


def test_a_key_is_handed_over_by_a_note_that_both_keys_sign(guard: LocalGuard) -> None:
    change = guard.rotate()
    assert guard.rotate() == change
    was, key = note.open_change(change.statement.encode(), verify)
    assert (was.text(), key.text()) == (change.was, change.key) == (guard.key, change.key)
    assert change.statement.split("\n")[:4] == ["failwell/log-key/1", ORIGIN, change.was, change.key]


def test_the_new_key_signs_from_the_recorded_size_on_and_not_before(guard: LocalGuard) -> None:
    old = guard.key
    grow(guard, 3)
    new = guard.rotate().key
    assert signer(grow(guard, 4), old, new) == old
    guard.confirm(new, 7)
    assert signer(grow(guard, 6), old, new) == old
    assert guard.key == old
    assert signer(grow(guard, 7), old, new) == new
    assert guard.key == new
    assert signer(grow(guard, 8), old, new) == new
    guard.confirm(new, 7)


def test_the_old_key_is_nowhere_once_the_new_one_has_signed(guard: LocalGuard, place: Path) -> None:
    grow(guard, 3)
    state = guard.state()
    assert state.pair is not None
    seed = state.pair.seed
    guard.confirm(guard.rotate().key, 5)
    assert holds(place, seed)
    grow(guard, 5)
    assert not holds(place, seed)


def holds(place: Path, seed: bytes) -> bool:
    files = [path.read_bytes() for path in place.rglob("*") if path.is_file()]
    return any(form in data for data in files for form in (seed, seed.hex().encode(), b64encode(seed)))


def test_a_key_that_does_not_wait_is_not_put_in_force(guard: LocalGuard) -> None:
    grow(guard, 3)
    with pytest.raises(GuardRefused):
        guard.confirm("failwell/x+00000000+AA==", 5)
    change = guard.rotate()
    with pytest.raises(GuardRefused):
        guard.confirm(change.key.replace("+", "-"), 5)


def test_a_size_that_the_old_key_has_signed_already_is_refused(guard: LocalGuard) -> None:
    grow(guard, 6)
    change = guard.rotate()
    for size in (5, 6):
        with pytest.raises(GuardRefused):
            guard.confirm(change.key, size)
    guard.confirm(change.key, 7)
    guard.confirm(change.key, 9)  # the entry came to stand elsewhere: nothing was signed by it yet
    assert signer(grow(guard, 8), change.was, change.key) == change.was
    assert signer(grow(guard, 9), change.was, change.key) == change.key


def test_one_change_follows_another(guard: LocalGuard) -> None:
    keys = [guard.key]
    for size in (1, 2, 3):
        change = guard.rotate()
        guard.confirm(change.key, size)
        assert signer(grow(guard, size), *keys, change.key) == change.key
        keys.append(change.key)
    assert len(set(keys)) == 4


@pytest.mark.parametrize("cut", ["first", "second"])
def test_a_change_that_only_one_key_signed_is_none(guard: LocalGuard, cut: str) -> None:
    change = guard.rotate()
    parsed = note.SignedNote.parse(change.statement.encode())
    kept = parsed.signatures[1:] if cut == "first" else parsed.signatures[:1]
    with pytest.raises(Corrupt):
        note.open_change(note.SignedNote(parsed.text, kept).encode(), verify)
    twice = (kept[0], kept[0])
    with pytest.raises(Corrupt):
        note.open_change(note.SignedNote(parsed.text, twice).encode(), verify)


def test_no_byte_of_a_change_can_be_another(guard: LocalGuard) -> None:
    data = guard.rotate().statement.encode()
    for position in range(len(data)):
        changed = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        with pytest.raises((Corrupt, InputError)):
            note.open_change(changed, verify)


def test_a_checkpoint_does_not_pass_for_a_change(guard: LocalGuard) -> None:
    with pytest.raises(InputError):
        note.open_change(grow(guard, 3).note, verify)


# ---- retired -------------------------------------------------------------------------------------------------------


def test_a_retired_guard_signs_nothing_and_keeps_its_last_note(guard: LocalGuard, place: Path) -> None:
    sealed = grow(guard, 4)
    change = guard.rotate()
    seeds = guard.state().seeds
    assert len(seeds) == 2
    guard.retire("continued by order 17")
    guard.retire("said again")
    for reopened in (False, True):
        if reopened:
            guard.close()
        again = LocalGuard.open(place) if reopened else guard
        assert again.retired == "continued by order 17"
        assert again.last() == sealed
        assert again.key == change.was
        for refused in (lambda g=again: grow(g, 5), again.rotate, lambda g=again: g.confirm(change.key, 5)):
            with pytest.raises(GuardRefused, match="retired"):
                refused()
        assert again.seal(4, HONEST.root(4), [], 1.0) == sealed
    assert not any(holds(place, seed) for seed in seeds)
