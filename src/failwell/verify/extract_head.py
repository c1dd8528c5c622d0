"""The tree head of an extract: whose it is, and how checkpoints that somebody kept elsewhere stand to it.

Implements the reading side of C2SP signed-note and tlog-checkpoint and of RFC 9162 2.1.4. The names and keys that the
log has had are read from the extract's own entries, which prove nothing before the head is signed by a key that the
one from outside vouches for, and they stand under it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from failwell.core import merkle, note, proof
from failwell.core.errors import Corrupt, FailwellError, InputError
from failwell.core.note import Verify
from failwell.verify.anchors import Anchor
from failwell.verify.envelope import CONTINUED, GENESIS, LOG_KEY, Envelope
from failwell.verify.extract_report import HEAD, KEPT, LOG
from failwell.verify.finding import UNSIGNED, Break, Findings
from failwell.verify.log_keys import Era, LogKeys


class NoNode(Corrupt):
    """A proof needs a hash that the extract does not hold."""


class ExtractHead:
    """The head of one extract. `signed` comes first; without it nothing else is worth anything."""

    def __init__(
        self, findings: Findings, signed: bytes, entries: Mapping[int, Envelope], node: merkle.Get, verify: Verify
    ) -> None:
        """`signed`: the note; `entries` by number; `node`: hashes of the tree. Raises InputError for no checkpoint."""
        self._findings = findings
        self._note = signed
        self._node = node
        self._verify = verify
        self.checkpoint = note.Checkpoint.parse(note.SignedNote.parse(signed).text)
        self._keys = self._read_keys(entries)

    @property
    def breaks(self) -> tuple[Break, ...]:
        """Where sealed entries of the log were given up."""
        return self._keys.breaks

    @property
    def names(self) -> tuple[str, ...]:
        """The origins that the log has had."""
        return tuple(dict.fromkeys(era.origin for era in self._keys.eras))

    def name_at(self, seq: int) -> str | None:
        """The origin that entry `seq` must bear."""
        era = self._keys.at(seq + 1)
        return None if era is None else era.origin

    def _read_keys(self, entries: Mapping[int, Envelope]) -> LogKeys:
        found = Findings()
        keys = LogKeys(found, self._verify)
        first = entries.get(0)
        if first is None or first.kind != GENESIS:
            self._findings.add(LOG, "entry.genesis", "entry 0, which says what log this is, is not here", entry=0)
        else:
            keys.begin(first)
        for seq, entry in entries.items():
            if entry.kind == LOG_KEY:
                keys.rotate(seq, entry)
            elif entry.kind == CONTINUED:
                keys.go_on(seq, entry, None, None)
        for each in found.found():
            self._findings.add(HEAD, each.code, each.message, entry=each.entry)
        return keys

    def signed(self, key: note.VerifierKey) -> bool:
        """Whether the head is signed by `key`, or by one that it vouches for; a finding if not."""
        size = self.checkpoint.size
        era, last = self._keys.at(size), self._keys.trusted(key)
        if era is None or last is None:
            why = "the key given is none that this log had by then: it is another log's, or a newer one"
            self._findings.add(HEAD, "head.key", why)
            return False
        if era not in self._keys.eras[: last + 1]:
            why = f"the key given is that of {key.name}, which signed nothing that says the log goes on as {era.origin}"
            self._findings.add(HEAD, "head.key", why)
            return False
        try:
            _open(self._note, era, self._verify)
        except FailwellError as error:
            self._findings.add(HEAD, "head.signature", f"the tree head does not hold: {error.message}")
            return False
        self._findings.detail(HEAD, f"over {size} entries, by {'+'.join(era.key.split('+')[:2])}")
        return True

    # -- kept checkpoints --------------------------------------------------------------------------------------

    def compare(self, kept: Iterable[Anchor]) -> None:
        """Hold each kept checkpoint against the head; call it once the head is `signed`.

        Its entries then name the earlier keys; one that they do not name signs nothing of this log.
        """
        count = 0
        for anchor in kept:
            count += 1
            try:
                stated = note.Checkpoint.parse(note.SignedNote.parse(anchor.note).text)
                era = self._keys.of(stated.origin, stated.size)
                if era is None:
                    raise InputError(f"it is of log {stated.origin}")
                self._compare_one(anchor.source, era, _open(anchor.note, era, self._verify))
            except FailwellError as error:
                message = f"the checkpoint {anchor.source} is not one of this log: {error.message}"
                self._findings.add(KEPT, UNSIGNED, message)
        self._findings.detail(KEPT, f"{count} kept")

    def _compare_one(self, source: str, era: Era, kept: note.Checkpoint) -> None:
        size = self.checkpoint.size
        ended = self._keys.ended(era)
        if ended is not None and kept.size >= ended.since:
            message = (
                f"the checkpoint {source} covers {kept.size} entries of {kept.origin}: not all of them are in this log "
                f"any more, they were given up by the order in entry {ended.since - 1}"
            )
            self._findings.add(KEPT, "kept.lost", message, entry=ended.since)
        elif kept.size > size:
            message = (
                f"this is an old extract, over {size} entries: when the checkpoint {source} was signed there were "
                f"{kept.size}; what stands from entry {size} on is not in it"
            )
            self._findings.add(KEPT, "kept.newer", message, entry=size, first=size, last=kept.size - 1)
        else:
            self._continues(source, kept)

    def _continues(self, source: str, old: note.Checkpoint) -> None:
        new = self.checkpoint
        try:
            path = merkle.consistency_path(old.size, new.size, self._node)
            proof.verify_consistency(old.size, old.root, new.size, new.root, path)
        except NoNode:
            why = (
                f"the extract holds no proof that it continues {source}, over {old.size}; ask for one that does: "
                "failwell ledger export --agent NAME --consistency FILE"
            )
            self._findings.uncheckable(KEPT, why)
        except FailwellError as error:
            message = f"the checkpoint {source} is of another history: {error.message}"
            self._findings.add(KEPT, "kept.root", message, entry=max(0, old.size - 1), first=0, last=old.size - 1)


def _open(data: bytes, era: Era, verify: Verify) -> note.Checkpoint:
    """The checkpoint in a note that the key of `era` signed under its origin."""
    return note.open_checkpoint(data, era.origin, [(note.VerifierKey.parse(era.key), verify)])
