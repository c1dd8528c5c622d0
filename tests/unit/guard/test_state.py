"""The guard's memory on disk: half-written, damaged, shared, readable by others, on a full disk, on a failing one."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from failwell.core.errors import FailwellError
from failwell.guard import state as states
from failwell.guard.sealing import LocalGuard
from failwell.guard.state import FILE_NAME, SLOT_BYTES, State, StateFile, peek
from failwell.ports.guard import GuardFailed, GuardLost, GuardRefused, Sealed
from tests.unit.guard.disk import PUT_FAULTS, SYNC_FAULTS, Disk, TriedFile
from tests.unit.guard.trees import HONEST, Tree

ORIGIN = "failwell/00112233aabbccdd"
ROOT = Path(__file__).resolve().parents[3]
OTHER = Tree("other ")
SECTOR = 512


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "guard"


def grow(guard: LocalGuard, size: int, tree: Tree = HONEST) -> Sealed:
    return guard.seal(size, tree.root(size), tree.path(guard.grown()[0], size))


class Images(tuple[bytes, bytes, int]):
    """The file before and after one write, and where the slot that it wrote begins."""

    __slots__ = ()

    @classmethod
    def make(cls, place: Path) -> Images:
        guard = LocalGuard.create(place, ORIGIN)
        for size in (3, 4, 5):
            grow(guard, size)
        before = (place / FILE_NAME).read_bytes()
        grow(guard, 7)
        guard.close()
        after = (place / FILE_NAME).read_bytes()
        (at,) = {
            position // SLOT_BYTES * SLOT_BYTES
            for position, (old, new) in enumerate(zip(before, after, strict=True))
            if old != new
        }
        return cls((before, after, at))


def put(place: Path, data: bytes) -> None:
    """In place: a file that is emptied first costs the file system a flush each time."""
    with (place / FILE_NAME).open("r+b") as file:
        file.write(data)
        file.truncate()


# ---- half written --------------------------------------------------------------------------------------------------


def test_a_write_cut_off_at_any_byte_leaves_the_one_before_it(place: Path) -> None:
    before, after, at = Images.make(place)
    whole = 0
    for cut in range(SLOT_BYTES + 1):
        data = before[:at] + after[at : at + cut] + before[at + cut :]
        put(place, data)
        size = peek(place).size
        assert size == (7 if data == after else 5), cut
        whole += size == 7
        if cut % 256 == 3:  # and opened to be written: what is torn is mended
            LocalGuard.open(place).close()
            guard = LocalGuard.open(place)
            assert guard.grown()[0] == size
            grow(guard, 8)
            guard.close()
            assert peek(place).size == 8
    assert 1 < whole < SLOT_BYTES  # the zeros after the content are the same in both


def test_a_write_of_which_any_sectors_arrived_leaves_one_of_the_two(place: Path) -> None:
    before, after, at = Images.make(place)
    for arrived in product((False, True), repeat=SLOT_BYTES // SECTOR):
        data = bytearray(before)
        for number, there in enumerate(arrived):
            if there:
                begin = at + number * SECTOR
                data[begin : begin + SECTOR] = after[begin : begin + SECTOR]
        put(place, bytes(data))
        assert peek(place).size == (7 if data == after else 5)


def test_no_changed_byte_of_a_slot_is_taken_for_what_was_written(place: Path, rng: random.Random) -> None:
    _, after, at = Images.make(place)
    for position in range(SLOT_BYTES):
        data = bytearray(after)
        data[at + position] ^= 1 << rng.randrange(8)
        put(place, bytes(data))
        assert peek(place).size == 5, position


def test_with_both_copies_damaged_nothing_is_signed_and_nothing_begun_anew(place: Path, rng: random.Random) -> None:
    _, after, _ = Images.make(place)
    for _ in range(200):
        data = bytearray(after)
        for slot in (0, SLOT_BYTES):
            data[slot + rng.randrange(SLOT_BYTES)] ^= 1 << rng.randrange(8)
        put(place, bytes(data))
        with pytest.raises(GuardLost, match="neither of its two copies"):
            LocalGuard.open(place)
        with pytest.raises(GuardLost):
            peek(place)
        assert (place / FILE_NAME).read_bytes() == data


@pytest.mark.parametrize("change", [lambda data: b"", lambda data: data[:-1], lambda data: data + b"\0"])
def test_a_file_of_another_size_is_no_memory(place: Path, change: Callable[[bytes], bytes]) -> None:
    put_aside = Images.make(place)[1]
    put(place, change(put_aside))
    with pytest.raises(GuardLost):
        LocalGuard.open(place)


def _content(data: bytes, at: int) -> bytes:
    return data[at + 36 : at + 36 + int.from_bytes(data[at + 32 : at + 36], "big")]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"size":7', b'"size":"7"'), (b'"size":7', b'"size":8'), (b'"size":7', b'"size":-7'),
        (b'"note":', b'"nota":'), (b'"retired":null', b'"retired":"x"'), (b'"retired":null', b'"retired":0'),
        (b'"waiting":null', b'"waiting":{}'), (b'"waiting":null', b'"waiting":7'),
        (b'{"generation":', b'{"generation":-'), (b'{"gen', b'{"extra":1,"gen'), (b'{"gen', b'{ "gen'),
        (b'"seed":"', b'"seed":"AAAA'),
    ],
)  # fmt: skip
def test_content_that_no_guard_writes_is_unreadable_even_under_a_good_hash(place: Path, old: bytes, new: bytes) -> None:
    _, after, at = Images.make(place)
    content = _content(after, at)
    assert content.count(old) == 1
    forged = states._pack(content.replace(old, new))
    put(place, after[:at] + forged + after[at + SLOT_BYTES :])
    assert peek(place).size == 5


def test_a_state_with_another_private_key_than_the_published_is_unreadable(place: Path, tmp_path: Path) -> None:
    _, after, at = Images.make(place)
    seeds = []
    for each in (place, tmp_path / "other"):
        state = peek(each) if each == place else LocalGuard.create(each, ORIGIN).state()
        seeds.append(states._seed(state.pair))
    mine, other = (str(seed).encode() for seed in seeds)
    content = _content(after, at)
    assert content.count(mine) == 1
    put(place, after[:at] + states._pack(content.replace(mine, other)) + after[at + SLOT_BYTES :])
    assert peek(place).size == 5


# ---- shared, or readable by others -----------------------------------------------------------------------------------


def test_two_processes_never_share_a_memory(place: Path) -> None:
    LocalGuard.create(place, ORIGIN).close()
    program = "import sys\nfrom pathlib import Path\nfrom failwell.guard.sealing import LocalGuard\n"
    hold = "guard = LocalGuard.open(Path(sys.argv[1]))\nprint('held', flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program + hold, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(GuardFailed, match=f"process {other.pid}"):
            LocalGuard.open(place)
        assert states.holder(place) == other.pid
        assert peek(place).size == 0
        other.communicate()
    assert states.holder(place) is None
    LocalGuard.open(place).close()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o700])
def test_a_memory_that_others_could_read_is_refused(place: Path, mode: int) -> None:
    LocalGuard.create(place, ORIGIN).close()
    (place / FILE_NAME).chmod(mode)
    for opened in (LocalGuard.open, peek):
        with pytest.raises(GuardFailed, match="mode") as refused:
            opened(place)
        assert "chmod 600" in str(refused.value.hint)


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o777])
def test_a_directory_that_others_could_enter_is_refused(place: Path, mode: int) -> None:
    LocalGuard.create(place, ORIGIN).close()
    place.chmod(mode)
    with pytest.raises(GuardFailed, match="mode"):
        LocalGuard.open(place)
    with pytest.raises(GuardFailed, match="mode"):
        LocalGuard.create(place, ORIGIN)


def test_directories_and_file_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        LocalGuard.create(tmp_path / "a" / "b", ORIGIN).close()
    finally:
        os.umask(umask)
    modes = [
        path.stat().st_mode & 0o777 for path in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a/b" / FILE_NAME)
    ]
    assert modes == [0o700, 0o700, 0o600]
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == [FILE_NAME]


def test_a_link_or_a_pipe_in_its_place_is_refused(place: Path, tmp_path: Path) -> None:
    LocalGuard.create(tmp_path / "other", ORIGIN).close()
    place.mkdir(mode=0o700)
    (place / FILE_NAME).symlink_to(tmp_path / "other" / FILE_NAME)
    with pytest.raises(GuardFailed):
        LocalGuard.open(place)
    (place / FILE_NAME).unlink()
    os.mkfifo(place / FILE_NAME, 0o600)
    with pytest.raises(GuardFailed, match="plain file"):
        LocalGuard.open(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's file needs root to be made; run the tests as root")
def test_another_users_memory_is_refused(place: Path) -> None:
    LocalGuard.create(place, ORIGIN).close()
    os.chown(place / FILE_NAME, 65534, 65534)
    with pytest.raises(GuardFailed, match="belongs to user 65534"):
        LocalGuard.open(place)
    os.chown(place, 65534, 65534)
    with pytest.raises(GuardFailed, match="belongs to user 65534"):
        peek(place)


# ---- a full disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB, where this user may mount one."""
    at = tmp_path / "disk"
    at.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(at)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here (needs root); the file size limit below stands in")
    yield at
    subprocess.run(["umount", "-l", str(at)], check=True)


@pytest.mark.requirement("R28.3")
def test_on_a_full_disk_it_goes_on_signing_and_changes_its_key(small_disk: Path) -> None:
    guard = LocalGuard.create(small_disk / "guard", ORIGIN)
    handle = os.open(small_disk / "filler", os.O_CREAT | os.O_WRONLY, 0o600)
    with contextlib.suppress(OSError):
        while True:
            os.write(handle, b"\0" * 512)
    with pytest.raises(OSError, match="No space left"):
        os.write(handle, b"\0" * 512)
    with pytest.raises(GuardFailed, match="No space left"):
        LocalGuard.create(small_disk / "second", ORIGIN)
    for size in range(1, 20):
        grow(guard, size)
    guard.confirm(guard.rotate().key, 20)
    sealed = grow(guard, 20)
    guard.close()
    again = LocalGuard.open(small_disk / "guard")
    assert again.last() == sealed
    again.retire("full")
    again.close()
    os.close(handle)


LIMITED = """
    import resource, sys
    from pathlib import Path
    from failwell.guard.sealing import LocalGuard
    from failwell.guard.state import FILE_BYTES
    from tests.unit.guard.trees import HONEST

    guard = LocalGuard.open(Path(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    for size in range(1, 20):
        guard.seal(size, HONEST.root(size), HONEST.path(size - 1, size))
    guard.confirm(guard.rotate().key, 20)
    guard.seal(20, HONEST.root(20), HONEST.path(19, 20))
    try:
        Path(sys.argv[1], "more").write_bytes(bytes(FILE_BYTES + 1))
    except OSError:
        print("nothing more can be written")
"""


def test_no_write_needs_more_room_than_the_file_has(place: Path) -> None:
    """The same without root: the kernel refuses every byte beyond the file's size."""
    LocalGuard.create(place, ORIGIN).close()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LIMITED), str(place)], cwd=ROOT, capture_output=True, text=True,
        check=True, env={**os.environ, "PYTHONPATH": "src:."}, timeout=30,
    )  # fmt: skip
    assert done.stdout == "nothing more can be written\n"
    assert peek(place).size == 20


# ---- a failing disk --------------------------------------------------------------------------------------------------

Step = Callable[[LocalGuard], Sealed | None]


def _change(guard: LocalGuard) -> None:
    guard.confirm(guard.rotate().key, 4)


def _retire(guard: LocalGuard) -> None:
    guard.retire("the end")


STORY: tuple[Step, ...] = (
    lambda guard: grow(guard, 1), lambda guard: grow(guard, 2), _change, lambda guard: grow(guard, 3),
    lambda guard: grow(guard, 4), lambda guard: grow(guard, 5), _retire,
)  # fmt: skip


class Witness:
    """Keeps every note that was ever handed out, and asks for second histories."""

    def __init__(self) -> None:
        self.notes: dict[int, Sealed] = {}

    def see(self, sealed: Sealed | None) -> None:
        if sealed is not None:
            assert self.notes.setdefault(sealed.size, sealed) == sealed, "two histories were signed"

    def tempt(self, guard: LocalGuard) -> None:
        """Ask for another root of every size handed out, as whoever rewrote the ledger would."""
        for size in list(self.notes):
            with contextlib.suppress(GuardRefused, GuardFailed):
                begin = guard.grown()[0]
                self.see(guard.seal(size, OTHER.root(size), OTHER.path(begin, size) if begin <= size else []))


NEVER = -1


def play(disk: Disk, *, cut: Callable[[], int], kind: type[TriedFile] | None = None) -> tuple[Witness, bool]:
    """The story on a failing disk, every step asked again until it succeeds.

    `cut` says after how many more questions the power is cut when something has failed: 0 at once, 1 after what failed
    was asked again. Returns what was handed out, and whether the story came to its end.
    """
    witness, due = Witness(), NEVER
    guard: LocalGuard | None = None
    try:
        for step in STORY:
            for _ in range(40):
                fired = disk.fired
                try:
                    guard = guard or disk.open(kind)
                    witness.tempt(guard)
                    witness.see(step(guard))
                    done = True
                except GuardFailed:
                    done = False
                due = cut() if disk.fired > fired else due - 1 if due > NEVER else NEVER
                if due == 0:
                    if guard is not None:
                        guard.close()
                    guard = None
                    disk.cut_power()
                if done:
                    break
            else:
                return witness, False
        return witness, True
    finally:
        if guard is not None:
            guard.close()


def judge(disk: Disk, witness: Witness) -> State:
    """After the power was cut once more, on a disk that works again: nothing handed out is forgotten."""
    disk.cut_power()
    disk.fault = lambda step, kind: None
    with contextlib.closing(disk.open()) as guard:
        handed_out = max(witness.notes, default=0)
        assert guard.grown()[0] >= handed_out
        if handed_out and guard.grown()[0] == handed_out:
            assert guard.last() == witness.notes[handed_out]
        witness.tempt(guard)
        return guard.state()


def fresh(place: Path) -> Disk:
    """A new guard; made once and copied, because making one waits for the disk several times."""
    made = place.parent / "made"
    if not made.exists():
        LocalGuard.create(made, ORIGIN).close()
    return Disk(Path(shutil.copytree(made, place)))


def schedules(place: Path) -> Iterator[tuple[int, str, int]]:
    """Every single fault of the story: the step, how it fails, and when the power goes with it."""
    disk = fresh(place / "counted")
    assert play(disk, cut=lambda: NEVER)[1]
    assert disk.steps.count("sync") >= 11
    for step, kind in enumerate(disk.steps):
        for fault, cut in product(PUT_FAULTS if kind == "put" else SYNC_FAULTS, (NEVER, 0, 1, 2)):
            yield step, fault, cut


def run_all(place: Path, kind: type[TriedFile] | None = None) -> Iterator[None]:
    for number, (bad_step, bad_fault, cut) in enumerate(schedules(place)):
        disk = fresh(place / str(number))
        disk.fault = lambda step, kind, at=bad_step, fault=bad_fault: fault if step == at else None  # type: ignore[misc]
        witness, ended = play(disk, cut=lambda cut=cut: cut, kind=kind)  # type: ignore[misc]
        assert ended, (bad_step, bad_fault, cut)
        assert set(witness.notes) == {1, 2, 3, 4, 5}
        state = judge(disk, witness)
        assert state.retired == "the end"
        assert not state.seeds
        assert b'"seed":"' not in disk.durable + disk.path.read_bytes(), "a key outlived its end"
        yield


@pytest.mark.requirement("R13.9", "R13.12")
def test_whatever_one_step_of_writing_does_no_second_history_is_signed_and_no_key_outlives_its_end(place: Path) -> None:
    assert sum(1 for _ in run_all(place)) > 100


def test_on_a_disk_that_fails_again_and_again_no_second_history_is_signed(place: Path, rng: random.Random) -> None:
    ended = 0
    for number in range(150):
        disk = fresh(place / str(number))

        def fault(step: int, kind: str) -> str | None:
            return rng.choice(PUT_FAULTS if kind == "put" else SYNC_FAULTS) if rng.random() < 0.15 else None

        disk.fault = fault
        witness, done = play(disk, cut=lambda: rng.choice((NEVER, NEVER, 0, 1)))
        judge(disk, witness)
        ended += done
    assert ended > 100


# ---- the harness itself: faults of the kind it is there for, which it must find --------------------------------------


class Forgetful(TriedFile):
    """Hands out what it could not store."""

    def write(self, state: State) -> None:
        with contextlib.suppress(GuardFailed):
            super().write(state)
        self._state = state


class Stubborn(TriedFile):
    """Asks a failed sync again on the same handle, and believes the second answer."""

    def _sync(self) -> None:
        try:
            super()._sync()
        except OSError:
            super()._sync()


class Trusting(TriedFile):
    """Takes what it reads at opening for what the disk holds."""

    def _settle(self, other: State | None) -> None:
        if other is None or not other.seeds <= self._state.seeds:
            self.write(self._state)


class Rash(TriedFile):
    """Never syncs."""

    def _sync(self) -> None:
        self._disk.meet("sync")


@pytest.mark.parametrize("mutant", [Forgetful, Stubborn, Trusting, Rash])
def test_the_harness_finds_a_guard_that_forgets(place: Path, mutant: type[TriedFile]) -> None:
    with pytest.raises(AssertionError):
        for _ in run_all(place, mutant):
            pass


def test_a_failed_sync_is_never_asked_again_on_the_same_handle(place: Path) -> None:
    disk = fresh(place)
    guard = disk.open()
    grow(guard, 1)
    held = guard._file
    assert held is not None
    begin = len(disk.steps)
    disk.fault = lambda step, kind: "lost" if step == begin + 1 else None
    with pytest.raises(GuardFailed, match="cannot store"):
        grow(guard, 2)
    assert disk.steps[begin:] == ["put", "sync"]
    assert not held.is_open
    grow(guard, 2)
    assert guard._file is not held
    guard.close()


def test_what_does_not_fit_changes_nothing(place: Path) -> None:
    guard = LocalGuard.create(place, ORIGIN)
    grow(guard, 1)
    file = guard._file
    assert isinstance(file, StateFile)
    with pytest.raises(FailwellError):
        file.write(State(key=file.state.key, pair=file.state.pair, note=b"x" * SLOT_BYTES))
    assert file.is_open
    grow(guard, 2)
    guard.close()
