"""Entries of every registered kind, made from the types alone: what hypothesis draws and what the golden file holds."""

from __future__ import annotations

import types
import typing
from typing import Any

import msgspec
from hypothesis import strategies as st

from failwell.core import kinds, records
from failwell.core.records import Body, Entry, kind_of

#: (kind, version) -> body type, read from the module and not from the registry it is held against.
TYPES: dict[tuple[str, int], type[Body]] = {
    records._KIND_OF[value]: value
    for value in vars(kinds).values()
    if isinstance(value, type) and issubclass(value, Body) and value in records._KIND_OF
}

SAFE = st.integers(1 - 2**53, 2**53 - 1)
KEYS = st.text("abcxyz0189_.-", min_size=1, max_size=8)
TEXTS = st.text(max_size=20) | st.text('\x00\x1f\x7f"\\/\u2028\u2029\ufeff\uffff\U0001f600e\u0301', max_size=6)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type, the odd ones included."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([values(each) for each in args])
    if origin is tuple and args[-1] is not ...:
        return st.tuples(*[values(each) for each in args])
    if origin is tuple:
        return st.lists(values(args[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(KEYS, values(args[1]), max_size=3)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return bodies(kind)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        int: SAFE, str: TEXTS, bool: st.booleans(), types.NoneType: st.none(),
    }  # fmt: skip
    return plain[kind]


def bodies(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Bodies of a type, every field drawn by its own type."""
    fields = {field.name: values(field.type) for field in msgspec.structs.fields(kind)}
    return st.fixed_dictionaries(fields).map(lambda given: kind(**given))


def entry_of(body: Body, **envelope: Any) -> Entry[Any]:
    """An entry around `body`, of nobody's run."""
    kind, v = kind_of(body)
    given: dict[str, Any] = {
        "actor": "node", "agent": None, "aprev": None, "aseq": None, "at": "2026-11-23T05:11:18.000123Z", "blob": None,
        "boot": "a" * 32, "mono_us": 77, "origin": "failwell.test/x", "refs": (), "run": None, "seq": 9, "tokens": (),
    }  # fmt: skip
    return Entry(body=body, kind=kind, v=v, **(given | envelope))


def specimen(kind: Any) -> Any:
    """One fixed value of a field's type: nothing drawn, so that the golden file does not move."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return specimen(args[0])
    if origin is tuple:
        return (specimen(args[0]),) if args[-1] is ... else tuple(specimen(each) for each in args)
    if origin is dict:
        return {"k": specimen(args[1])}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind(**{field.name: specimen(field.type) for field in msgspec.structs.fields(kind)})
    return {int: 7, str: "text", bool: True}[kind]
