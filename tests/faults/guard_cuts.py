"""A guard's memory under power cuts: nothing it handed out is forgotten, and no size is ever signed with two roots.

The real guard on its real file, which is in the real file system; its writes and syncs are journalled where the guard
does them (`StateFile._put`, `_sync`) and every disk that a cut may leave is opened again by the same guard.
"""

from __future__ import annotations

import base64
import functools
import random
import re
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from failwell.core import note
from failwell.core.errors import FailwellError
from failwell.guard.keypair import verify
from failwell.guard.sealing import LocalGuard
from failwell.guard.state import FILE_NAME, StateFile, Waiting
from failwell.ports.guard import GuardRefused, KeyChange, Sealed
from tests.faults.judge import Violation
from tests.simulate.powercut import SYNC, WRITE, Journal, State, states
from tests.unit.guard.trees import HONEST, Tree

#: Long, so that what is written spans sectors and can be torn: with a short one it fits into the first.
ORIGIN = "failwell/" + "00112233" * 12
OTHER = Tree("another history")
_root = functools.cache(HONEST.root)
_other_root = functools.cache(OTHER.root)
_path = functools.cache(HONEST.path)
_SEED = re.compile(rb'"seed":"([^"]+)"')


class Confirmed(NamedTuple):
    """The guard said that trees of `size` and more are signed with `key`."""

    key: str
    size: int


@contextmanager
def journalled(journal: Journal) -> Iterator[None]:
    """Within the block, whatever a guard of this process asks of its disk is put down first."""
    put, sync = StateFile._put, StateFile._sync

    def putting(self: StateFile, data: bytes, offset: int) -> None:
        journal.note(WRITE, self.path, offset, data)
        put(self, data, offset)

    def syncing(self: StateFile) -> None:
        sync(self)
        journal.note(SYNC, self.path)

    with mock.patch.object(StateFile, "_put", putting), mock.patch.object(StateFile, "_sync", syncing):
        yield


def judge_guard(
    directory: Path, seed: int, wanted: int, *, acts: int = 40, mutant: AbstractContextManager[object] | None = None
) -> tuple[int, list[Violation]]:  # fmt: skip
    """Record one random life of a guard and judge about `wanted` memories that cuts may leave of it."""
    rng = random.Random(f"{seed}:guard")
    place = directory / "guard"
    LocalGuard.create(place, ORIGIN).close()
    journal = Journal(directory, {f"guard/{FILE_NAME}": (place / FILE_NAME).read_bytes()})
    # A broken guard may refuse to go on from its own memory: what it did until then is judged.
    broken = nullcontext() if mutant is None else suppress(FailwellError)
    with journalled(journal), mutant or nullcontext(), broken:
        _live(place, journal, rng, acts)
    per_cut = max(1, round(wanted / sum(op.what == WRITE for op in journal.ops)))
    judged = 0
    wrong: list[Violation] = []
    for state in states(journal, rng, per_cut):
        judged += 1
        why = _judge(place, state, journal.acks[: state.acks])
        if why is not None:
            wrong.append(Violation(state.cut, state.persisted, why))
            if len(wrong) >= 20:
                break
    shutil.rmtree(place)
    return judged, wrong


def _live(place: Path, journal: Journal, rng: random.Random, acts: int) -> None:
    """Seals, changes of key, and closing and opening, each answer put down as told."""
    size = 0
    guard = LocalGuard.open(place)
    try:
        for _ in range(acts):
            what = rng.choices(["seal", "rotate", "confirm"], weights=[8, 1, 2])[0]
            size = _answered(guard, what, size, journal, rng)
            if rng.random() < 0.1:
                guard.close()
                guard = LocalGuard.open(place)
    finally:
        guard.close()


def _answered(guard: LocalGuard, what: str, size: int, journal: Journal, rng: random.Random) -> int:
    """One question and its answer, put down as told; the size that is sealed then."""
    if what == "seal":
        new = size + rng.randrange(1, 9)
        journal.acknowledge(guard.seal(new, _root(new), _path(size, new)))
        return new
    waiting = guard.state().waiting
    if what == "rotate":
        journal.acknowledge(guard.rotate())
    elif waiting is not None and waiting.since is None:
        since = size + rng.randrange(1, 4)
        guard.confirm(waiting.pair.key, since)
        journal.acknowledge(Confirmed(waiting.pair.key, since))
    return size


def _judge(place: Path, state: State, told: list[object]) -> str | None:
    (place / FILE_NAME).write_bytes(state.files[f"guard/{FILE_NAME}"])
    try:
        guard = LocalGuard.open(place)
        try:
            return _remembers(guard, told) or _keys_left(place, guard) or _goes_on(guard, told)
        finally:
            guard.close()
    except FailwellError as error:
        return f"{error.code}: {error.message}"


def _remembers(guard: LocalGuard, told: list[object]) -> str | None:
    seals = [each for each in told if isinstance(each, Sealed)]
    last = guard.last()
    if seals and (last is None or last.size < seals[-1].size):
        return f"it handed out a seal over {seals[-1].size} and remembers {last and last.size}"
    if last is not None and last.root != _root(last.size):
        return f"it remembers another root at {last.size} than it was asked to sign"
    changes = [each for each in told if isinstance(each, KeyChange)]
    state = guard.state()
    known = {state.key, *(() if state.waiting is None else (state.waiting.pair.key,))}
    if changes and changes[-1].key not in known:
        return "the key that it announced last is gone"
    confirmed = [each for each in told if isinstance(each, Confirmed)]
    if confirmed and state.waiting is not None and _unconfirmed(state.waiting) == confirmed[-1].key:
        return f"it confirmed a change of key at {confirmed[-1].size} and forgot it"
    return None


def _keys_left(place: Path, guard: LocalGuard) -> str | None:
    """A key that ended must not lie in the file any more once the guard is up again."""
    there = set(_SEED.findall((place / FILE_NAME).read_bytes()))
    if there != {base64.b64encode(seed) for seed in guard.state().seeds}:
        return "the file holds a private key that is not in force"
    return None


def _unconfirmed(waiting: Waiting) -> str | None:
    return waiting.pair.key if waiting.since is None else None


def _goes_on(guard: LocalGuard, told: list[object]) -> str | None:
    """What was sealed is sealed: a second root at its size, or an older size, is refused; the tree goes on."""
    size, _ = guard.grown()
    for each in told:
        if isinstance(each, Sealed) and not _refuses(guard, each.size, _other_root(each.size)):
            return f"two notes over {each.size} leaves with different roots"
    if size and not _refuses(guard, size, _other_root(size)):
        return f"a second root over {size} leaves was signed"
    new = size + 1
    sealed = guard.seal(new, _root(new), _path(size, new))
    signed = note.open_checkpoint(sealed.note, ORIGIN, [(note.VerifierKey.parse(guard.key), verify)])
    if signed.size != new or guard.last() != sealed:
        return "it does not remember what it just signed"
    return None


def _refuses(guard: LocalGuard, size: int, root: bytes) -> bool:
    try:
        guard.seal(size, root, [])
    except GuardRefused:
        return True
    return False


# ---- faults seeded into the guard, which this hunt must find -------------------------------------------------------


def unsynced() -> Any:
    """It answers before its memory is synced."""
    return mock.patch.object(StateFile, "_sync", return_value=None)


def in_place() -> Any:
    """It writes over the only copy it has."""

    def over_and_over(self: StateFile, slot: bytes, generation: int) -> None:
        self._put(slot, 0)
        self._sync()

    return mock.patch.object(StateFile, "_write_slot", over_and_over)


def answer_first() -> Any:
    """It signs first and remembers afterwards."""
    write = StateFile.write

    def later(self: StateFile, state: Any) -> None:
        held = self.__dict__.get("held")
        if held is not None:
            write(self, held)
        self.__dict__["held"] = self._state = state

    return mock.patch.object(StateFile, "write", later)


MUTANTS = {"no sync": unsynced, "one slot": in_place, "signed first, remembered afterwards": answer_first}
