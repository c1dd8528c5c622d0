"""The book: numbers, encodes, hashes and folds drafts into the next batch. Used by one thread at a time.

It holds what a batch has changed but not yet committed; `recover` throws that away and loads what is really stored.
It does not queue, wait or acknowledge (`writer`), and does not know what a verdict is.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from failwell.core import kinds, merkle, note, rows
from failwell.core.errors import Corrupt, FailwellError
from failwell.core.folds import decided_by
from failwell.core.instants import format_at
from failwell.core.records import (
    Draft,
    Entry,
    Ref,
    decode_entry,
    encode_entry,
    kind_of,
)
from failwell.core.state import State
from failwell.core.tokens import MAX_TOKENS, token_digest
from failwell.ledger.jobs import Job, Turn
from failwell.ledger.vault import Minted, Vault
from failwell.ports.clock import Clock
from failwell.ports.guard import Sealed
from failwell.ports.storage import Batch, Storage, StorageFailed, StoredBlob, StoredEntry, StoredPast, StoredToken

#: More reactions than this to each entry that a job wrote are a fault of ours, not of an agent.
MAX_REACTIONS = 1024
#: How far the wall clock may stand ahead of ledger time before an entry says so.
DRIFT_US = 2_000_000
#: Leaf hashes kept at hand for citations; older ones are read from the store.
RECENT_LEAVES = 65_536
#: After how many entries memory is looked through for what the store can tell again.
SETTLE_ENTRIES = 10_000


class Head(NamedTuple):
    """A durable tree head before it is signed: its size, and the hashes of its perfect subtrees (`merkle.Frontier`)."""

    size: int
    hashes: tuple[bytes, ...]


React = Callable[[State, Entry[Any]], tuple[Draft, ...]]


class Book:
    """The ledger's head in memory. All times come from `clock`, all randomness from `entropy`.

    `origin` names a ledger that has no entry yet; later it is what the entries say.
    """

    def __init__(
        self,
        storage: Storage,
        vault: Vault,
        clock: Clock,
        origin: str,
        react: React,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.storage = storage
        self.vault = vault
        self._clock = clock
        self._first_origin = origin
        self._react = react
        self._entropy = entropy
        self.load()

    # -- what is stored ----------------------------------------------------------------------------------------

    def load(self) -> None:
        """Take the stored state into memory. Raises Corrupt when it does not hang together."""
        size = self.storage.size()
        self.torn = False
        self.state = State()
        self._leaves: dict[int, str] = {}
        self._recent: deque[int] = deque()
        self._clear()
        self.frontier = merkle.Frontier.read(size, self.subtree)
        past = self.storage.past()
        reached = 0 if past is None else past.size
        self.vault.load(self.storage.tokens(reached * MAX_TOKENS), None if past is None else past.token)
        self._boot, self._mono_us = "", 0
        self._noted = 0  # what row is stored is not believed: the newest seal replaces it with the next commit
        if size:
            last = decode_entry(self._stored(size - 1).data)
            self._boot, self._mono_us = last.boot, last.mono_us
            self.state.resume(size, last.at)
        for table in rows.TABLES:
            self.state.load(table, _decoded(table, self.storage.live_rows(table)))
        self.state.pages = self.storage.newest_key("page") or 0
        newest = self.storage.newest_key("action")
        if newest is not None:
            # Attack: a signal after a failed store names the newest decision, and what follows from it is another
            # thing for who lost that from memory than for who reads the record.
            self.state.decided = decided_by(decode_entry(self._stored(newest).data))
        self._recall(past, reached)
        self.origin = self.state.origin or self._first_origin
        self.vault.name(*(self.state.origins or ((0, self.origin),)))

    def _recall(self, past: StoredPast | None, reached: int) -> None:
        """What was counted: `past` tells of all entries before `reached` when it is asked, the rest is counted now."""
        self.state.past = past
        self._settled = self.state.size
        if past is not None:
            for run in self.state.run:
                for call, seq, denied in past.calls(run):
                    self.state.call(run, call, seq, again=not denied)
        for table in ("action", "signal"):
            self.state.recall(table, _decoded(table, self.storage.rows(table, reached)))
        first = reached if reached else self.state.size
        while page := self.storage.entries(first, SETTLE_ENTRIES):
            first = page[-1].seq + 1
            for stored in page:
                body = decode_entry(stored.data).body if b'"state":"blocked"' in stored.data else None
                if isinstance(body, kinds.Outcome) and body.state == "blocked" and body.decision < reached:
                    row = rows.decode_row("action", self.storage.row("action", body.decision) or "")
                    self.state.release(row, body.decision, stored.seq)

    def _settle(self) -> None:
        """Now and then let memory go of what the store can tell again."""
        if self.state.size - self._settled < SETTLE_ENTRIES:
            return
        self._settled = self.state.size
        if self.state.past is None:  # the ledger has become long enough for one; until now memory held everything
            self.state.past = past = self.storage.past(catch_up=False)
            self.vault.ask(None if past is None else past.token)
        else:
            self.state.settle(self.state.last_at_us)
            self.vault.settle(self.state.past.size, self.state.size)

    def recover(self) -> None:
        """After a failed commit: fresh handles, and the state as it is really stored."""
        self.storage.reopen()
        self.load()

    def subtree(self, level: int, index: int) -> bytes:
        """Hash of a perfect subtree, from the row of the entry that completed it (`merkle.Get`)."""
        last = (index + 1 << level) - 1
        row = self._stored(last)
        return row.leaf if level == 0 else row.nodes[(level - 1) * 32 : level * 32]

    def _stored(self, seq: int) -> StoredEntry:
        row = self.storage.entry(seq)
        if row is None:
            raise Corrupt(f"entry {seq} is missing")
        return row

    def _clear(self) -> None:
        self._entries: list[StoredEntry] = []
        self._blobs: dict[int, StoredBlob] = {}
        self._tokens: list[StoredToken] = []
        self.written: list[Entry[Any]] = []

    # -- time --------------------------------------------------------------------------------------------------

    def mono_us(self) -> int:
        """The boot clock that entries are stamped with."""
        return self._clock.mono_us()

    def _at_us(self, mono_us: int) -> int:
        """Ledger time: the previous entry's plus what the boot clock says has passed since (D7)."""
        return self.state.last_at_us + max(0, mono_us - self._mono_us)

    def clock_draft(self) -> Draft | None:
        """The `clock` entry that must come first after a boot: the boot clock of another boot tells no time."""
        boot = self._clock.boot()
        if boot == self._boot:
            return None
        wall_us = self._clock.wall_us()
        self._boot, self._mono_us = boot, self._clock.mono_us()
        self._rebase_mono_us = self._mono_us
        stepped_us = wall_us - self.state.last_at_us if self.state.size else 0
        body = kinds.Clock(reason="boot", wall=format_at(wall_us), stepped_us=max(0, stepped_us))
        # A wall clock behind the ledger never turns time back: the ledger goes on from where it stood.
        self._rebase_us = max(wall_us, self.state.last_at_us)
        return Draft(body=body, actor="node")

    def drift_draft(self) -> Draft | None:
        """A `clock` entry for a wall clock that was set forward while the node ran; None while the two agree.

        Called in a job. It frees no limit window: somebody who can set a clock must not be able to refill limits by it.
        A wall clock that was set back changes nothing: ledger time goes on with the boot clock.
        """
        mono_us, wall_us = self._clock.mono_us(), self._clock.wall_us()
        stepped_us = wall_us - self._at_us(mono_us)
        if stepped_us <= DRIFT_US:
            return None
        self._rebase_us, self._rebase_mono_us = wall_us, mono_us
        return Draft(body=kinds.Clock(reason="drift", wall=format_at(wall_us), stepped_us=stepped_us), actor="node")

    def _rebase(self, before: Callable[[Entry[Any]], None]) -> None:
        """Write the clock entry that was lost with a failed commit: no entry tells the time of two boots."""
        draft = self.clock_draft()
        if draft is not None:
            self.torn = True
            before(self._append(draft, self._rebase_us, self._mono_us, ()))
            self.torn = False

    # -- writing -----------------------------------------------------------------------------------------------

    def run(
        self, job: Job[Any], before: Callable[[Entry[Any]], None]
    ) -> tuple[Callable[[tuple[Entry[Any], ...]], Any], tuple[Entry[Any], ...]]:
        """Run one job into the open batch; returns what makes its answer, and the entries of its drafts.

        Errors of the job itself change nothing. An entry that does not fold raises Corrupt: the batch is lost and
        `recover` must be called, as after any other error that leaves `torn` set.
        """
        if self.state.size and self._clock.boot() != self._boot:
            self._rebase(before)
        # One look at the clock for all entries of a job: time between two looks would be lost to the ledger.
        mono_us = self._clock.mono_us()
        turn = Turn(self.state, self._at_us(mono_us), self.vault, self.storage, self._entropy, self._blobs)
        plan = job(turn)
        if not plan.drafts:
            return plan.answer, ()
        # INVARIANT: whatever interrupts the writing of drafts, also a fault of ours, leaves a batch that is half done:
        # it must never be committed.
        self.torn = True
        try:
            entries = self._write(plan.drafts, turn, mono_us, before)
        except FailwellError as error:
            raise Corrupt(f"the batch was dropped: {error.message}") from error
        self.torn = False
        return plan.answer, entries

    def _write(
        self, drafts: Sequence[Draft], turn: Turn, mono_us: int, before: Callable[[Entry[Any]], None]
    ) -> tuple[Entry[Any], ...]:  # fmt: skip
        minted = tuple(turn.minted.values())
        # Spread over the job's entries: one entry has no room for the tokens of a thousand effects.
        entries = tuple(
            self._append(draft, turn.now_us, mono_us, minted[number :: len(drafts)])
            for number, draft in enumerate(drafts)
        )
        self.vault.learn(minted)
        waiting = deque(entries)
        for _ in range((MAX_REACTIONS + 1) * len(drafts)):
            entry = waiting.popleft()
            before(entry)
            waiting.extend(self._append(draft, turn.now_us, mono_us, ()) for draft in self._react(self.state, entry))
            if not waiting:
                return entries
        raise Corrupt(f"entry {entries[0].seq} sets off more than {MAX_REACTIONS} reactions")

    def _append(self, draft: Draft, at_us: int, mono_us: int, minted: Sequence[Minted]) -> Entry[Any]:
        state = self.state
        seq = state.size
        kind, v = kind_of(draft.body)
        head = state.head.get(draft.agent) if draft.agent is not None else None
        blob = None
        if draft.secret is not None:
            stored, blob = self.vault.seal(seq, draft.secret)
            self._blobs[seq] = stored
        if isinstance(draft.body, kinds.Clock | kinds.Genesis):
            # The wall clock was read when this was drafted; signing or a self-test may lie between, and would be lost.
            at_us = self._rebase_us + max(0, mono_us - self._rebase_mono_us)
        if isinstance(draft.body, kinds.Continued):
            self._rename(seq, draft.body)
        entry: Entry[Any] = Entry(
            actor=draft.actor,
            agent=draft.agent,
            aprev=None if head is None else head.last,
            aseq=None if draft.agent is None else (0 if head is None else head.count),
            at=format_at(max(at_us, state.last_at_us)),
            blob=blob,
            body=draft.body,
            boot=self._boot,
            kind=kind,
            mono_us=mono_us,
            origin=self.origin,
            refs=tuple(Ref(self.origin, cited, self.leaf(cited)) for cited in draft.refs),
            run=draft.run,
            seq=seq,
            tokens=tuple(token_digest(*item) for item in minted),
            v=v,
        )
        data = encode_entry(entry)
        leaf = merkle.leaf_hash(data)
        text = leaf.hex()
        state.apply(entry, text)
        self._mono_us = entry.mono_us
        self._entries.append(StoredEntry(seq, data, leaf, b"".join(self.frontier.append(leaf))))
        self._tokens += [StoredToken(seq * MAX_TOKENS + place, *item) for place, item in enumerate(minted)]
        self._remember(seq, text)
        self.written.append(entry)
        return entry

    def _rename(self, seq: int, body: kinds.Continued) -> None:
        """From this entry on the log bears the name that its new key was made for."""
        self.origin = note.VerifierKey.parse(body.key).name
        self.vault.name(*self.state.origins, (seq, self.origin))

    def leaf(self, seq: int) -> str:
        """Leaf hash (hex) of an entry, for a citation."""
        found = self._leaves.get(seq)
        return self._stored(seq).leaf.hex() if found is None else found

    def _remember(self, seq: int, leaf: str) -> None:
        self._leaves[seq] = leaf
        self._recent.append(seq)
        if len(self._recent) > RECENT_LEAVES:
            del self._leaves[self._recent.popleft()]

    @property
    def head(self) -> Head:
        """The head over all entries, those of the open batch included: durable right after a commit."""
        return Head(self.state.size, self.frontier.hashes())

    def commit(self, sealed: Sealed | None = None) -> list[Entry[Any]]:
        """Write the batch durably, read it back, and return its entries; a seal that is not stored yet goes with it.

        Raises StorageFull, StorageFailed; what was read back differently is StorageFailed too (a lying disk).
        """
        fresh = sealed is not None and sealed.size > self._noted
        if not self._entries and not fresh:
            return []
        changed = {place: rows.encode_row(row) for place, row in self.state.drain().items()}
        size, signed = (sealed.size, sealed.note) if sealed is not None and fresh else (None, None)
        self.storage.commit(Batch(self._entries, list(self._blobs.values()), self._tokens, changed, size, signed))
        self._noted = max(self._noted, size or 0)
        if self._entries:
            self._read_back()
        written = self.written
        self._clear()
        self._settle()
        return written

    def _read_back(self) -> None:
        first = self._entries[0].seq
        stored = self.storage.read_back(first, len(self._entries))
        sha256 = hashlib.sha256
        # Hash what came back, do not compare with what we hold in memory alone: the leaf must be over the file's bytes.
        if len(stored) != len(self._entries) or any(
            sha256(b"\0" + data).digest() != row.leaf or leaf != row.leaf
            for (data, leaf), row in zip(stored, self._entries, strict=True)
        ):
            raise StorageFailed(f"entries from {first} on were not read back as written")


def _decoded(table: str, stored: Iterable[tuple[Any, str]]) -> Iterator[tuple[Any, Any]]:
    try:
        for key, row in stored:
            yield key, rows.decode_row(table, row)
    except (msgspec.MsgspecError, LookupError, TypeError) as error:
        raise Corrupt(f"a row of table {table} cannot be read: {error}", hint="failwell ledger verify") from error
