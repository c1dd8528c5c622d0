"""Texts and arguments that nobody meant: every reader refuses them with one of our errors, or takes them whole.

The functions and what must hold of them are those of the campaign (`python -m tests.fuzz`); here they meet texts that
are a few strokes away from sound ones.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import ARGUMENTS, TARGETS, words
from tests.fuzz.targets import arguments as arguments_of

WORDS = words()
SEEDS = {name: seeds() for name, (_, seeds) in TARGETS.items()}

strokes = st.tuples(
    st.sampled_from(["cut", "put", "twice", "swap"]),
    st.floats(0, 1),
    st.integers(0, 40),
    st.one_of(st.sampled_from(WORDS), st.text(max_size=4)).map(lambda word: word.encode("utf-8", "replace")),
)


def stroke(data: bytes, how: str, where: float, length: int, word: bytes) -> bytes:
    at = int(where * len(data))
    part = data[at : at + length]
    after = data[at + length :]
    if how == "cut":
        return data[:at] + after
    if how == "put":
        return data[:at] + word + data[at:]
    if how == "twice":
        return data[:at] + part + part + after
    return data[:at] + after[:length] + part + after[length:]


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=80)
@given(data=st.data())
def test_what_nobody_meant_is_refused_or_taken_whole(name: str, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(SEEDS[name]))
    for one in data.draw(st.lists(strokes, min_size=1, max_size=4)):
        text = stroke(text, *one)
    TARGETS[name][0](text)


@pytest.mark.parametrize("name", TARGETS)
def test_what_it_begins_with_holds_and_so_does_nothing_at_all(name: str) -> None:
    for data in (*SEEDS[name][:12], b"", b"\x00", b"\xff\xfe", "\ud800".encode("utf-8", "surrogatepass")):
        TARGETS[name][0](data)


@settings(max_examples=200)
@given(
    st.dictionaries(
        st.sampled_from(["text", "amount", "id", "ids", "code", "account", "rest", "facts", "novel", "Amount"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=5,
        ),
    )
)
def test_arguments_of_any_shape_are_judged_and_judged_alike(given_: dict[str, object]) -> None:
    import json

    arguments_of(json.dumps(json.loads(ARGUMENTS) | given_).encode())
