"""The tree of heads: it is RFC 6962's over the sorted lines, however it came to be, and a line left out shows."""

from __future__ import annotations

import random
from dataclasses import replace
from hashlib import sha256

import pytest

from failwell.core import merkle
from failwell.core.errors import Corrupt
from failwell.core.heads import HeadsTree, Line, Place, heads_root, verify_places
from failwell.core.rows import Head


def head(count: int, text: str = "") -> Head:
    return Head(count=count, last=count * 7, leaf=sha256(f"{text}{count}".encode()).hexdigest())


def plain_root(heads: dict[str, Head]) -> bytes:
    """The definition, without any of the tree's own code."""
    lines = sorted((agent.encode(), f"{agent} {row.count} {row.leaf}".encode()) for agent, row in heads.items())
    return merkle.root_of(merkle.leaf_hash(line) for _, line in lines)


def agents(count: int) -> dict[str, Head]:
    return {f"spiffe://shop.example/agent/bot-{number:03d}": head(number + 1) for number in range(count)}


def verified(tree: HeadsTree, agent: str) -> Line | None:
    return verify_places(agent, tree.prove(agent), tree.size, tree.root())


def test_the_root_is_rfc_6962_over_the_lines_sorted_by_the_agents_bytes() -> None:
    heads = {
        "b": head(2),
        "a": head(1),
        "a b": head(3),
        "a-b": head(4),
        "ä": head(5),
        "\U0001f600": head(6),
        "\uffff": head(7),
    }
    assert heads_root(heads) == plain_root(heads)
    assert heads_root({}) == merkle.EMPTY_ROOT == sha256(b"").digest()
    assert heads_root({"a": head(1)}) == merkle.leaf_hash(f"a 1 {head(1).leaf}".encode())


def test_every_line_is_proved_by_the_path_of_rfc_9162() -> None:
    for count in range(1, 40):
        heads = agents(count)
        tree = HeadsTree(heads)
        leaves = [merkle.leaf_hash(f"{agent} {row.count} {row.leaf}".encode()) for agent, row in sorted(heads.items())]

        def stored(level: int, index: int, leaves: list[bytes] = leaves) -> bytes:
            return merkle.root_of(leaves[index << level : index + 1 << level])

        for index, agent in enumerate(sorted(heads)):
            (place,) = tree.prove(agent)
            assert place == Place(index, Line(agent, heads[agent].count, heads[agent].leaf), place.path)
            assert list(place.path) == merkle.inclusion_path(index, count, stored)
            assert verified(tree, agent) == place.line


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8, 13])
def test_that_an_agent_has_no_entry_is_proved_by_the_lines_around_it(count: int) -> None:
    heads = agents(count)
    tree = HeadsTree(heads)
    for absent in ("", "a", "z", *(f"{agent}x" for agent in heads), *(agent[:-1] for agent in heads)):
        assert verified(tree, absent) is None
        # What shows that one agent has no entry says nothing of one that has.
        for agent in heads:
            with pytest.raises(Corrupt):
                verify_places(
                    agent, [place for place in tree.prove(absent) if place.line.agent != agent], count, tree.root()
                )


def test_a_tree_that_follows_is_the_tree_laid_anew(rng: random.Random) -> None:
    """Rows change, agents come, and after a dropped batch rows and agents go back to what they were."""
    heads: dict[str, Head] = {}
    tree = HeadsTree()
    kept = dict(heads)
    for turn in range(400):
        draw = rng.random()
        if draw < 0.1:
            kept = dict(heads)
        elif draw < 0.15:
            heads = dict(kept)
        for _ in range(rng.choice((0, 1, 1, 2, 20))):
            agent = f"bot-{rng.randrange(1 + turn // 4)}"
            heads[agent] = head(heads[agent].count + 1 if agent in heads else 1, str(turn))
        tree.update(heads)
        assert tree.root() == plain_root(heads)
        assert tree.size == len(heads)
        for agent in rng.sample(sorted(heads), min(3, len(heads))):
            assert verified(tree, agent) == Line(agent, heads[agent].count, heads[agent].leaf)


@pytest.mark.parametrize("agent", ["spiffe://shop.example/agent/bot-004", "spiffe://shop.example/agent/bot-004x"])
def test_whatever_is_changed_in_a_proof_it_shows_nothing(agent: str) -> None:
    tree = HeadsTree(agents(11))
    honest = tree.prove(agent)
    other = HeadsTree(agents(12))
    wrong: list[tuple[tuple[Place, ...], int, bytes]] = [
        ((), 11, tree.root()),
        (honest, 4, tree.root()),
        (honest, 0, merkle.EMPTY_ROOT),
        ((), 0, tree.root()),
        (honest, 11, other.root()),
        ((*honest, *honest), 11, tree.root()),
        ((*honest, tree._place(9)), 11, tree.root()),
        ((tree._place(4), tree._place(6)), 11, tree.root()),
        ((tree._place(0),), 11, tree.root()),
        ((tree._place(10),), 11, tree.root()),
        (tuple(reversed(honest)) if len(honest) > 1 else (), 11, other.root()),
    ]
    for place in honest:
        line = place.line
        for changed in (
            replace(place, index=place.index + 1),
            replace(place, index=place.index - 1),
            replace(place, path=place.path[:-1]),
            replace(place, path=(*place.path, place.path[-1])),
            replace(place, path=place.path[::-1]),
            replace(place, line=replace(line, count=line.count - 1)),
            replace(place, line=replace(line, count=True)),
            replace(place, line=replace(line, leaf="00" * 32)),
            replace(place, line=replace(line, leaf=line.leaf.upper())),
            replace(place, line=replace(line, agent=line.agent + "x")),
            replace(place, line=Line(f"{line.agent} {line.count}", int(line.count), line.leaf)),
        ):
            wrong.append((tuple(changed if each is place else each for each in honest), 11, tree.root()))
    for places, count, root in wrong:
        with pytest.raises(Corrupt):
            verify_places(agent, places, count, root)


def test_a_line_is_not_read_as_that_of_an_agent_with_a_shorter_name() -> None:
    """Attack: an agent whose name ends like a line, so that its line could be told as another agent's."""
    leaf = "ab" * 32
    long = Line(f"a 5 {leaf}", 1, leaf)
    tree = HeadsTree({long.agent: Head(count=1, last=0, leaf=leaf)})
    with pytest.raises(Corrupt):
        verify_places("a", [Place(0, Line("a", 5, f"{leaf} 1 {leaf}"), ())], 1, tree.root())
    assert verified(tree, "a") is None
