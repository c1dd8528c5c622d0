"""Tiles: a log as plain files, from which anybody computes any proof without asking its operator.

Implements C2SP tlog-tiles (https://c2sp.org/tlog-tiles): tiles of height 8 over the RFC 6962 tree.

    checkpoint                      signed note over the newest tree head
    tile/0/000                      hash tile: leaves 0 to 255, 32 bytes each, one after the other
    tile/0/x001/067                 leaves 273,152 to 273,407: the index 1067 in groups of three digits, all but
                                    the last with an x
    tile/1/000                      roots of the full tiles tile/0/000 to tile/0/255, and so on upwards
    tile/0/x001/068.p/12            partial tile: the first 12 hashes, all there are in this tree
    tile/entries/000                entry bundle: entries 0 to 255, each as its length (big-endian uint16) and its bytes

A full tile never changes; a partial one holds the same hashes as the wider one that follows it. An entry has at most
65,535 bytes, which is this format's limit and also the ledger's. Nothing here reads or writes a file, compresses or
prunes; this file needs the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from failwell.core.errors import Corrupt, InputError
from failwell.core.merkle import HASH_BYTES, Get, root_of
from failwell.core.proof import MAX_TREE_SIZE

HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT
MAX_LEVEL: Final = 63
MAX_ENTRY_BYTES: Final = 0xFFFF
CHECKPOINT: Final = "checkpoint"
ENTRIES: Final = -1
"""The level of an entry bundle."""

_GROUP: Final = 1000
_LENGTH_BYTES: Final = 2
_PATH: Final = re.compile(
    r"tile/(?P<level>entries|[0-9]{1,2})/(?P<index>(?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/(?P<width>[0-9]{1,3}))?"
)


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """Name of a hash tile or entry bundle.

    `level`: 0 to 63, or ENTRIES; `index`: place in its level; `width`: hashes or entries, 1 to 256, 256 being a full
    tile. Raises InputError (code "tile").
    """

    level: int
    index: int
    width: int = WIDTH

    def __post_init__(self) -> None:
        if type(self.level) is not int or not ENTRIES <= self.level <= MAX_LEVEL:
            raise _malformed(f"a level is entries or 0 to {MAX_LEVEL}")
        if type(self.index) is not int or not 0 <= self.index < MAX_TREE_SIZE:
            raise _malformed("an index is an integer from 0 to 2^63 - 1")
        if type(self.width) is not int or not 1 <= self.width <= WIDTH:
            raise _malformed(f"a tile holds 1 to {WIDTH} hashes or entries")

    @classmethod
    def parse(cls, path: str) -> Tile:
        """Read a path below the log's prefix strictly, so that `parse(path).path() == path`."""
        found = _PATH.fullmatch(path)
        if found is None:
            raise _malformed(f"{path[:100]!r} is not the path of a tile")
        level = ENTRIES if found["level"] == "entries" else int(found["level"])
        index = int(found["index"].replace("x", "").replace("/", ""))
        tile = cls(level, index, WIDTH if found["width"] is None else int(found["width"]))
        # Attack: a second path for one tile (leading zeros, a group too many, .p/256), of which only one is checked.
        if tile.path() != path:
            raise _malformed(f"{path!r} should be written {tile.path()}")
        return tile

    def path(self) -> str:
        """Return the path below the log's prefix."""
        groups = [f"{self.index % _GROUP:03d}"]
        rest = self.index // _GROUP
        while rest:
            groups.insert(0, f"x{rest % _GROUP:03d}")
            rest //= _GROUP
        level = "entries" if self.level == ENTRIES else self.level
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(groups)}{partial}"

    @property
    def begin(self) -> int:
        """The first hash or entry, counted within the level."""
        return self.index * WIDTH


def tiles_at(level: int, size: int) -> Iterator[Tile]:
    """The tiles of one level (ENTRIES for the bundles) of a tree of `size` leaves, left to right."""
    full, partial = divmod(size >> HEIGHT * max(level, 0), WIDTH)
    yield from (Tile(level, index) for index in range(full))
    if partial:
        yield Tile(level, full, partial)


def tiles_of(size: int) -> Iterator[Tile]:
    """Every hash tile and entry bundle of a tree of `size` leaves, level by level, the bundles last."""
    level = 0
    while size >> HEIGHT * level:
        yield from tiles_at(level, size)
        level += 1
    yield from tiles_at(ENTRIES, size)


# ------------------------------------------------------------------------------------------------- hash tiles


def encode_hashes(hashes: Sequence[bytes]) -> bytes:
    """Return a hash tile of 1 to 256 hashes. Raises InputError."""
    if not 1 <= len(hashes) <= WIDTH or any(len(each) != HASH_BYTES for each in hashes):
        raise _malformed(f"a hash tile holds 1 to {WIDTH} hashes of {HASH_BYTES} bytes")
    return b"".join(hashes)


def parse_hashes(data: bytes, width: int) -> tuple[bytes, ...]:
    """Return the hashes of a tile of `width`. Raises InputError unless it holds exactly so many."""
    if not 1 <= width <= WIDTH or len(data) != width * HASH_BYTES:
        raise _malformed(f"{len(data)} bytes are not {width} hashes")
    return tuple(data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES))


def subtrees(size: int, read: Callable[[Tile], bytes]) -> Get:
    """What `merkle`'s proofs of a tree of `size` leaves are made from, out of its tiles; `read` gives a tile's bytes.

    Raises InputError for a tile that is malformed, Corrupt for a subtree that this tree does not hold. No tile is
    trusted more for it: what is proven is what leads to a signed root.
    """

    def get(level: int, index: int) -> bytes:
        tile_level, within = divmod(level, HEIGHT)
        first = index << within
        whole = size >> HEIGHT * tile_level
        if first + (1 << within) > whole:
            raise Corrupt(f"a tree of {size} leaves has no perfect subtree {index} at level {level}")
        tile_index, at = divmod(first, WIDTH)
        tile = Tile(tile_level, tile_index, min(WIDTH, whole - tile_index * WIDTH))
        return root_of(parse_hashes(read(tile), tile.width)[at : at + (1 << within)])

    return get


# ---------------------------------------------------------------------------------------------- entry bundles


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Return an entry bundle of 1 to 256 entries of at most 65,535 bytes each. Raises InputError."""
    if not 1 <= len(entries) <= WIDTH or any(len(each) > MAX_ENTRY_BYTES for each in entries):
        raise _malformed(f"a bundle holds 1 to {WIDTH} entries of at most {MAX_ENTRY_BYTES} bytes")
    return b"".join(len(each).to_bytes(_LENGTH_BYTES, "big") + each for each in entries)


def parse_bundle(data: bytes, width: int) -> tuple[bytes, ...]:
    """Return the entries of a bundle of `width`. Raises InputError unless it holds exactly so many."""
    entries: list[bytes] = []
    at = 0
    while at < len(data) and len(entries) < width:
        begin = at + _LENGTH_BYTES
        at = begin + int.from_bytes(data[at:begin], "big")
        entries.append(data[begin:at])
    # An entry that was cut off ends beyond the data; so does a length of which one byte is left, as `begin` does.
    if at != len(data) or len(entries) != width or not 1 <= width <= WIDTH:
        raise _malformed(f"{len(data)} bytes are not {width} entries")
    return tuple(entries)


def _malformed(why: str) -> InputError:
    return InputError(f"malformed tile: {why}", code="tile")
