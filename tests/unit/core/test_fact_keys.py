"""Names of arguments as keys of entries: every name has one key that entries take, and no two names have the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from failwell.core import canonical
from failwell.core.fact_keys import ARGUMENT_NAME, LOOKED, is_key, key_of, name_of

ARGUMENTS = st.from_regex(ARGUMENT_NAME, fullmatch=True)
LOOKED_UP = st.from_regex(r"[a-z][a-z0-9_-]{0,63}", fullmatch=True).map(lambda name: LOOKED + name)
#: Names made of the few parts of which keys are made.
CLOSE = st.lists(st.sampled_from(["a", "A", "args", "Args", "facts", "Facts", "P", "p", "-", "_", "x1"]), min_size=1)
NAMES = st.one_of(ARGUMENTS, CLOSE.map("".join).filter(ARGUMENT_NAME.fullmatch), LOOKED_UP)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("amount", "amount"), ("order_id", "order_id"), ("x-1", "x-1"), ("args", "args"), ("facts", "facts"),
        ("facts.paid", "facts.paid"), ("dryRun", "args.dry.run"), ("DryRun", "args..dry.run"),
        ("IBAN", "args..i.b.a.n"),
        ("factsPaid", "args.facts.paid"), ("argsDryRun", "args.args.dry.run"), ("a_B-C1", "args.a_.b-.c1"),
    ],
)  # fmt: skip
def test_a_key_is_the_name_itself_unless_it_has_capital_letters(name: str, key: str) -> None:
    assert (key_of(name), name_of(key), is_key(key)) == (key, name, True)


@given(NAMES)
@example("Z" * 64)
def test_every_name_is_read_back_from_its_key_which_entries_take(name: str) -> None:
    key = key_of(name)
    assert (name_of(key), is_key(key)) == (name, True)
    assert canonical.decode(canonical.encode({key: 1})) == {key: 1}
    assert key == name or re.search("[A-Z]", name)


@given(NAMES, NAMES)
@example("factsPaid", "facts.paid")
@example("factsPaid", "facts-paid")
@example("argsDryRun", "dryRun")
@example("aB", "AB")
@pytest.mark.requirement("R14.7")
def test_no_two_names_have_one_key(one: str, other: str) -> None:
    assert (key_of(one) == key_of(other)) == (one == other)


#: Keys that entries take and no name has: second spellings, dots without a letter, names that no contract takes.
STRANGE = (
    "args.amount", "args.", "args", "args.dry.", "args.dry..", "args.dry.1", "args.facts..paid", "args..facts.paid",
    "args.-.a", "args.1.a", "facts.", "facts.a.b", "facts..a", "facts.1", "dry.run", ".dry.run", "-", "1", "a" * 65,
    "args." + ".a" * 65, "novel.x", "args.facts.1.x",
)  # fmt: skip


@given(st.one_of(st.sampled_from(STRANGE), st.text("ab1._-", max_size=9), st.text("ab._-").map("args.{}".format)))
def test_a_key_that_is_not_the_one_of_a_name_is_shown_as_it_stands(key: str) -> None:
    """Attack: an entry with `args.amount` beside `amount`, for a person to read as the same."""
    name = name_of(key)
    if is_key(key):
        assert key_of(name) == key
    else:
        assert name == key


@pytest.mark.parametrize("key", [key for key in STRANGE if key not in ("args", "args..facts.paid")])
def test_what_spells_no_name_is_no_key(key: str) -> None:
    assert not is_key(key)
