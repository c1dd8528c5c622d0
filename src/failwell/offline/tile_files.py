"""A directory of C2SP tlog-tiles read as rows for `verify.record`: entry bundles, hash tiles and the checkpoint.

`core.tiles` knows the format. The checkpoint's size, believed only to know how wide the last tiles are, says how many
entries there must be; tiles beyond it belong to a newer checkpoint and are not read. The subtree hashes that a row
would carry are taken from the leaves of its tile, and the tiles above are held against those below them here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from failwell.core import note, tiles
from failwell.core.errors import Corrupt, FailwellError, InputError
from failwell.core.merkle import Frontier, root_of
from failwell.verify.record import Ledger

#: No bundle or tile is larger: 256 entries of 65,535 bytes, each behind two bytes of length.
_MAX_FILE_BYTES: Final = tiles.WIDTH * (tiles.MAX_ENTRY_BYTES + 2)
_MAX_NOTE_BYTES: Final = note.MAX_NOTE_BYTES

Row = tuple[int, bytes, bytes, bytes]


class TileDirectory:
    """One exported log. Raises Corrupt where there is no checkpoint that says how many entries to read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.note = _read(path / tiles.CHECKPOINT, _MAX_NOTE_BYTES)
        try:
            self.size = note.Checkpoint.parse(note.SignedNote.parse(self.note).text).size
        except FailwellError as error:
            raise Corrupt(f"{path / tiles.CHECKPOINT} is not a checkpoint: {error.message}") from error

    def ledger(self) -> Ledger:
        """Entries and checkpoint; blobs, tokens and the rows of projections are not part of an export."""
        return Ledger(
            entries=self.rows(), blobs=None, tokens=None, checkpoints=self.checkpoints(), rows=lambda table: (),
            complaints=self.complaints(),
        )  # fmt: skip

    def checkpoints(self) -> list[tuple[int, int, bytes]]:
        """As the one row of the checkpoint table."""
        return [(1, self.size, self.note)]

    def rows(self) -> Iterator[Row]:
        """(number, bytes, leaf of the hash tile, subtree hashes that follow from those leaves), in order."""
        for page in self.pages():
            yield from page

    def pages(self) -> Iterator[list[Row]]:
        """The rows of one bundle after the other. Raises Corrupt where one is missing or malformed."""
        tree = Frontier()
        for bundle in tiles.tiles_at(tiles.ENTRIES, self.size):
            entries = self._parse(bundle, tiles.parse_bundle)
            leaves = self._parse(tiles.Tile(0, bundle.index, bundle.width), tiles.parse_hashes)
            yield [
                (bundle.begin + at, data, leaf, b"".join(tree.append(leaf)))
                for at, (data, leaf) in enumerate(zip(entries, leaves, strict=True))
            ]

    def complaints(self) -> Iterator[str]:
        """What is wrong with the tiles above the leaves: each hash must be the head of the full tile below it."""
        level = 1
        while self.size >> tiles.HEIGHT * level:
            try:
                for tile in tiles.tiles_at(level, self.size):
                    yield from self._disagreements(tile)
            except Corrupt as error:
                # Attack: a size for which no disk has the tiles. One that is missing ends the search.
                yield error.message
                return
            level += 1

    def _disagreements(self, tile: tiles.Tile) -> Iterator[str]:
        for at, stored in enumerate(self._parse(tile, tiles.parse_hashes)):
            below = tiles.Tile(tile.level - 1, tile.begin + at)
            if root_of(self._parse(below, tiles.parse_hashes)) != stored:
                yield f"hash {at} of {tile.path()} is not the head of {below.path()}"

    def _parse(self, tile: tiles.Tile, parse: Any) -> tuple[bytes, ...]:
        """The content of a tile; where only a wider one was left (a later export), its beginning."""
        data = self._find(tile)
        try:
            parsed: tuple[bytes, ...] = parse(data, tile.width)
        except InputError as error:
            raise Corrupt(f"{tile.path()}: {error.message}") from error
        return parsed

    def _find(self, tile: tiles.Tile) -> bytes:
        return _read(self.path / tile.path(), _MAX_FILE_BYTES)


def _read(path: Path, limit: int) -> bytes:
    """A whole file. Raises Corrupt where there is none, or a larger one than any of its kind."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise Corrupt(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise Corrupt(f"{path} has more than {limit} bytes")
    return data
