"""Tiles: the standard's names, sizes and bytes, one spelling each, and a tree that they hold whole."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from failwell.core import merkle, tiles
from failwell.core.errors import Corrupt, InputError
from failwell.core.tiles import ENTRIES, MAX_ENTRY_BYTES, WIDTH, Tile


def refused(call: Callable[[], object]) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.code == "tile"


# ---- names


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 67), "tile/0/067"),
        (Tile(0, 1067), "tile/0/x001/067"),
        (Tile(3, 1_234_067), "tile/3/x001/x234/067"),  # the standard's example
        (Tile(0, 1_234_067, 8), "tile/0/x001/x234/067.p/8"),
        (Tile(ENTRIES, 0, 255), "tile/entries/000.p/255"),
        (Tile(ENTRIES, 999), "tile/entries/999"),
        (Tile(63, 2**63 - 1, 1), "tile/63/x009/x223/x372/x036/x854/x775/807.p/1"),
    ],
)
def test_names_are_the_standards(tile: Tile, path: str) -> None:
    assert tile.path() == path
    assert Tile.parse(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "", "tile", "tile/0", "tile/0/", "/tile/0/000", "tile/0/000/", "tile//000", "tile/0/0", "tile/0/00",
        "tile/0/0000",
        "tile/00/000", "tile/01/000", "tile/64/000", "tile/100/000", "tile/-1/000", "tile/data/000", "tile/Entries/000",
        "tile/0/x000/000", "tile/0/x000/067", "tile/0/001/067", "tile/0/x001/x067", "tile/0/x01/067", "tile/0/X001/067",
        "tile/0/x001/x000/x000/x000/x000/x000/x000/000", "tile/0/x009/x223/x372/x036/x854/x775/808",
        "tile/0/000.p", "tile/0/000.p/", "tile/0/000.p/0", "tile/0/000.p/00", "tile/0/000.p/01", "tile/0/000.p/256",
        "tile/0/000.p/1000", "tile/0/000.p/-1", "tile/0/000.p/1/", "tile/0/000\n", "tile/0/000.p/1\n",
        "tile/0/\u0660\u0660\u0660",
        "tile/0/../0/000", "tile/0/000.P/1", "tile/8/0/000", "checkpoint",
    ],
)  # fmt: skip
def test_no_other_name_is_a_tiles(path: str) -> None:
    refused(lambda: Tile.parse(path))


@given(
    st.text(max_size=60) | st.from_regex(r"tile/[0-9a-z]{1,7}/(x?[0-9]{2,4}/?){1,3}(\.p/[0-9]{1,3})?", fullmatch=True)
)
@example("tile/0/x000/x000/000")
def test_what_a_name_parses_to_is_written_back_the_same(path: str) -> None:
    try:
        parsed = Tile.parse(path)
    except InputError:
        return
    assert parsed.path() == path


@given(st.integers(ENTRIES, 63), st.integers(0, 2**63 - 1), st.integers(1, 256))
def test_every_tile_has_a_name_of_its_own(level: int, index: int, width: int) -> None:
    assert Tile.parse(Tile(level, index, width).path()) == Tile(level, index, width)


@pytest.mark.parametrize(
    "values", [(-2, 0, 1), (64, 0, 1), (0, -1, 1), (0, 2**63, 1), (0, 0, 0), (0, 0, 257), (True, 0, 1), (0, 0, True)]
)
def test_values_that_no_name_holds_are_refused(values: tuple[int, int, int]) -> None:
    refused(lambda: Tile(*values))


# ---- which there are


def test_a_tree_has_the_tiles_of_the_standards_example() -> None:
    """70,000 leaves: 273 full tiles and a width of 112, one full and a width of 17, a width of 1."""
    made = list(tiles.tiles_of(70_000))
    by_level = {level: [tile for tile in made if tile.level == level] for level in (ENTRIES, 0, 1, 2)}
    assert sum(map(len, by_level.values())) == len(made) == 2 * 274 + 2 + 1
    for level, full, partial in ((ENTRIES, 273, 112), (0, 273, 112), (1, 1, 17), (2, 0, 1)):
        assert [tile.width for tile in by_level[level]] == [WIDTH] * full + [partial]
        assert [tile.index for tile in by_level[level]] == list(range(full + 1))


def test_256_leaves_are_one_full_tile_and_one_above_it() -> None:
    assert list(tiles.tiles_of(256)) == [Tile(0, 0), Tile(1, 0, 1), Tile(ENTRIES, 0)]
    assert list(tiles.tiles_of(0)) == []


# ---- bytes


def test_hash_tiles_are_hashes_one_after_the_other() -> None:
    hashes = [bytes([number]) * 32 for number in range(256)]
    assert tiles.encode_hashes(hashes) == b"".join(hashes)
    assert len(tiles.encode_hashes(hashes)) == 8192
    assert tiles.parse_hashes(b"".join(hashes[:3]), 3) == tuple(hashes[:3])
    for data, width in ((b"", 0), (b"", 1), (bytes(31), 1), (bytes(33), 1), (bytes(64), 1), (bytes(32 * 257), 257)):
        refused(lambda data=data, width=width: tiles.parse_hashes(data, width))  # type: ignore[misc]
    for bad in ([], [b""], [bytes(31)], [bytes(32)] * 257):
        refused(lambda bad=bad: tiles.encode_hashes(bad))  # type: ignore[misc]


def test_bundles_are_entries_after_their_big_endian_length() -> None:
    assert tiles.encode_bundle([b"", b"ab", b"c" * 256]) == b"\0\0" + b"\0\2ab" + b"\1\0" + b"c" * 256


def test_an_entry_of_65535_bytes_is_bundled_and_one_byte_more_is_not() -> None:
    largest = bytes(MAX_ENTRY_BYTES)
    data = tiles.encode_bundle([largest, b"next"])
    assert data[:2] == b"\xff\xff"
    assert tiles.parse_bundle(data, 2) == (largest, b"next")
    refused(lambda: tiles.encode_bundle([largest + b"x"]))


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8))
def test_bundles_come_back(entries: list[bytes]) -> None:
    data = tiles.encode_bundle(entries)
    assert tiles.parse_bundle(data, len(entries)) == tuple(entries)
    for width in range(-1, 258):
        if width != len(entries):
            refused(lambda width=width: tiles.parse_bundle(data, width))  # type: ignore[misc]
    for cut in range(1, len(data)):
        refused(lambda cut=cut: tiles.parse_bundle(data[:-cut], len(entries)))  # type: ignore[misc]


@given(st.binary(max_size=60), st.integers(-2, 300))
def test_no_bytes_bring_another_error_or_a_second_spelling(data: bytes, width: int) -> None:
    try:
        parsed = tiles.parse_bundle(data, width)
    except InputError:
        return
    assert tiles.encode_bundle(parsed) == data


# ---- the tree in them


def tree_of(leaves: list[bytes]) -> dict[Tile, bytes]:
    """The hash tiles of a tree, after RFC 6962's definition and the standard's formula, not by our code for it."""
    made = {}
    for tile in tiles.tiles_of(len(leaves)):
        if tile.level != ENTRIES:
            span = WIDTH**tile.level
            first = tile.index * WIDTH
            made[tile] = b"".join(
                merkle.root_of(leaves[at * span : (at + 1) * span]) for at in range(first, first + tile.width)
            )
    return made


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 300, 511, 512, 66_000])
def test_every_proof_comes_out_of_the_tiles(size: int, rng: random.Random) -> None:
    leaves = [rng.randbytes(32) for _ in range(size)]
    files = tree_of(leaves)
    get = tiles.subtrees(size, files.__getitem__)
    assert merkle.range_root(0, size, get) == merkle.root_of(leaves)
    for level, index in some_subtrees(size, rng):
        assert get(level, index) == merkle.root_of(leaves[index << level : index + 1 << level])


def some_subtrees(size: int, rng: random.Random) -> Iterator[tuple[int, int]]:
    for level in range(size.bit_length()):
        yield level, (size >> level) - 1
        yield level, rng.randrange(size >> level)


def test_subtrees_that_the_tree_does_not_hold_are_refused() -> None:
    get = tiles.subtrees(300, lambda tile: bytes(32 * tile.width))
    for level, index in ((0, 300), (1, 150), (8, 1), (9, 0), (16, 0)):
        with pytest.raises(Corrupt):
            get(level, index)


def test_a_tile_of_another_width_is_refused() -> None:
    get = tiles.subtrees(300, lambda _: bytes(32 * 45))
    refused(lambda: get(0, 299))
