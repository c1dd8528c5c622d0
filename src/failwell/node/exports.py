"""What leaves the ledger in the open formats: checkpoint, proof of one entry, growth, and the whole log as tiles (D14).

C2SP tlog-checkpoint, tlog-proof, tlog-witness and tlog-tiles, read as `reading` reads: nothing is started or written in
the workspace. Only what is sealed leaves, and nothing leaves that does not lead to the signed root: entries beyond the
checkpoint stay, and a damaged ledger gives a finding instead of files. A directory of tiles only ever grows: what is
in it is compared, never replaced. It does not verify the record (`audit`) and asks no witness.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from failwell.core import merkle, tiles
from failwell.core.errors import Corrupt, InputError, Unhealthy
from failwell.core.note import Checkpoint, SignedNote, VerifierKey, open_checkpoint, open_note
from failwell.core.tlog_proof import TlogProof
from failwell.core.tlog_witness import AddCheckpoint
from failwell.identity import keys
from failwell.ledger.proofs import StoredTree
from failwell.node.reading import LedgerRows
from failwell.node.remembered import rows_in_force
from failwell.node.tile_files import TileFiles
from failwell.node.workspace import Workspace
from failwell.ports.storage import StoredEntry
from failwell.verify.anchors import find_notes


class Sealed(NamedTuple):
    """The newest checkpoint of a ledger: its note, what it says, the log's key, and how many entries lie beyond it."""

    note: bytes
    checkpoint: Checkpoint
    key: VerifierKey
    unsealed: int


class Exported(NamedTuple):
    """A directory of tiles after an export: the log, and how many files were written and how many were there."""

    sealed: Sealed
    written: int
    kept: int


class Proven(NamedTuple):
    """A proof of one entry, and the checkpoint it is under."""

    sealed: Sealed
    proof: TlogProof


class Grown(NamedTuple):
    """The proof that the newest checkpoint extends an older tree; `old_root` None where only a size was given."""

    sealed: Sealed
    growth: AddCheckpoint
    old_root: bytes | None


def export_checkpoint(path: Path) -> Sealed:
    """The newest checkpoint of the workspace at `path`, its signature verified with the published key.

    Raises Unhealthy (code "not-sealed") where nothing is sealed yet, Corrupt where it does not hold.
    """
    with _opened(path) as (_, sealed):
        return sealed


def export_proof(path: Path, seq: int) -> Proven:
    """The proof that entry `seq` is under the newest checkpoint, with the entry's bytes; NotFound beyond, Corrupt."""
    with _opened(path) as (rows, sealed):
        return Proven(sealed, StoredTree(rows.entry).prove_entry(seq, sealed.note))


def export_growth(path: Path, old: bytes | int) -> Grown:
    """The proof that the newest checkpoint extends `old`: a size, or a file or mail with one older checkpoint.

    Raises Corrupt where the old one is of another log, of another history, or covers more than this ledger has sealed.
    """
    with _opened(path) as (rows, sealed):
        tree = StoredTree(rows.entry)
        if isinstance(old, int):
            return Grown(sealed, tree.prove_growth(old, sealed.note), None)
        kept = _largest(find_notes(old))
        _check_older(kept, sealed, tree, "the checkpoint that was kept")
        older = Checkpoint.parse(SignedNote.parse(kept).text)
        return Grown(sealed, tree.prove_growth(older.size, sealed.note, older.root), older.root)


def export_tiles(path: Path, directory: Path, progress: Callable[[int, int], None]) -> Exported:
    """Write every tile and entry bundle of what is sealed to `directory`, then the checkpoint; adds to what is there.

    `progress(entries done, entries)` is called about once for each bundle. Raises InputError for a directory inside
    the workspace or with other files in it, Unhealthy while another export writes to it, and Corrupt (code
    "export-differs") where it holds another log or history, or any file that differs: then nothing more is written.
    """
    workspace = Workspace(path)
    if directory.resolve().is_relative_to(workspace.path):
        raise InputError(f"{directory} lies inside the workspace", hint="Export to a directory outside of it.")
    with _opened(path) as (rows, sealed), TileFiles(directory) as files:
        tree = StoredTree(rows.entry)
        held = files.checkpoint()
        if held is not None:
            _check_origin(held, sealed, directory)
            _check_older(held, sealed, tree, f"{directory / tiles.CHECKPOINT}")
        size = sealed.checkpoint.size
        files.check_names(size)
        _write(rows, _authentic_blocks(tree, sealed.checkpoint), size, files, progress)
        files.finish(sealed.note)
        return Exported(sealed, files.written, files.kept)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[LedgerRows, Sealed]]:
    workspace = Workspace(path)
    with rows_in_force(workspace) as rows:
        yield rows, _sealed(workspace, rows)


def _sealed(workspace: Workspace, rows: LedgerRows) -> Sealed:
    note = rows.checkpoint()
    if note is None:
        raise Unhealthy("nothing is sealed yet", hint="Start the node; it seals what it writes.", code="not-sealed")
    try:
        key = VerifierKey.parse(workspace.log_pub.read_text("utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise Corrupt(f"{workspace.log_pub} cannot be read: {error}", hint="failwell ledger verify") from error
    try:
        checkpoint = open_checkpoint(note, key.name, [(key, keys.verify)])
    except (Corrupt, InputError) as error:
        raise Corrupt(
            f"the ledger's checkpoint does not hold with the key in {workspace.log_pub}: {error.message}",
            hint="Where the key was just changed, try again after the next seal; else: failwell ledger verify",
        ) from error
    return Sealed(note, checkpoint, key, max(0, rows.size() - checkpoint.size))


def _largest(notes: Sequence[bytes]) -> bytes:
    return max(notes, key=lambda each: Checkpoint.parse(SignedNote.parse(each).text).size)


def _check_origin(held: bytes, sealed: Sealed, directory: Path) -> None:
    """Readers know a log by its origin: no directory goes from one to another, not even where both tell one history."""
    origin = Checkpoint.parse(SignedNote.parse(held).text).origin
    if origin != sealed.checkpoint.origin:
        message = f"{directory} holds the log {origin}, this one is {sealed.checkpoint.origin}"
        raise Corrupt(message, hint="Export to a directory of its own.", code="export-differs")


def _check_older(note: bytes, sealed: Sealed, tree: StoredTree, what: str) -> None:
    """Show that an older checkpoint is of this log's history; the finding says whether this log's key signed it."""
    older, newest = Checkpoint.parse(SignedNote.parse(note).text), sealed.checkpoint
    try:
        if older.size > newest.size:
            raise Corrupt(f"it covers {older.size} entries, and this ledger has sealed {newest.size}")
        tree.prove_growth(older.size, sealed.note, older.root)
    except Corrupt as error:
        raise Corrupt(
            f"{what} does not belong to this history: {error.message}; {_signed_by(note, sealed)}",
            hint="Keep both as they are, and find out which was changed: failwell ledger verify --checkpoint FILE",
            code="export-differs",
        ) from error


def _signed_by(note: bytes, sealed: Sealed) -> str:
    # A checkpoint that somebody made up accuses nobody.
    try:
        open_note(note, [(sealed.key, keys.verify)])
    except (Corrupt, InputError):
        return "this log's key in force did not sign it"
    return "it is signed with this log's key"


def _authentic_blocks(tree: StoredTree, checkpoint: Checkpoint) -> list[bytes]:
    """The roots over each 256 entries, shown to lead to the signed root before anything is written."""
    full, partial = divmod(checkpoint.size, tiles.WIDTH)
    blocks = [tree.subtree(tiles.HEIGHT, index) for index in range(full)]
    if partial:
        blocks.append(merkle.range_root(full * tiles.WIDTH, checkpoint.size, tree.subtree))
    # Blocks are perfect but for the last, so the tree over them is the tree over the entries (RFC 9162, 2.1.1).
    if merkle.root_of(blocks) != checkpoint.root:
        raise Corrupt("the stored hashes do not lead to the signed root", hint="failwell ledger verify")
    return blocks


def _write(
    rows: LedgerRows, blocks: list[bytes], size: int, files: TileFiles, progress: Callable[[int, int], None]
) -> None:
    for bundle in tiles.tiles_at(tiles.ENTRIES, size):
        found = rows.entries(bundle.begin, bundle.width)
        leaves = _leaves(found, bundle, blocks[bundle.index])
        files.put(bundle, [row.data for row in found], tiles.encode_bundle)
        files.put(tiles.Tile(0, bundle.index, bundle.width), leaves, tiles.encode_hashes)
        progress(bundle.begin + bundle.width, size)
    level, hashes = 1, blocks[: size // tiles.WIDTH]
    while hashes:
        for tile in tiles.tiles_at(level, size):
            files.put(tile, hashes[tile.begin : tile.begin + tile.width], tiles.encode_hashes)
        whole = len(hashes) - len(hashes) % tiles.WIDTH
        hashes = [merkle.root_of(hashes[at : at + tiles.WIDTH]) for at in range(0, whole, tiles.WIDTH)]
        level += 1


def _leaves(found: list[StoredEntry], bundle: tiles.Tile, block: bytes) -> list[bytes]:
    """The leaf hashes over the entries' bytes as they were read, shown to be the ones under the signed root."""
    leaves = [merkle.leaf_hash(row.data) for row in found]
    if len(found) != bundle.width or merkle.root_of(leaves) != block:
        last = bundle.begin + bundle.width - 1
        bad = next((row.seq for row, leaf in zip(found, leaves, strict=True) if row.leaf != leaf), None)
        where = f"one of the entries {bundle.begin} to {last}" if bad is None else f"entry {bad}"
        raise Corrupt(f"{where} is not what was sealed", hint="failwell ledger verify")
    return leaves
