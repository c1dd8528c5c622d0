"""JSON-RPC messages: which are read, and that what they carry stays the bytes that came."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failwell.core.errors import InputError
from failwell.mcp import messages
from failwell.mcp.messages import Malformed, Notification, Reply, Request, is_deeper, joined, members, read

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max((depth(each) for each in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth(each) for each in value), default=0)
    return 0


def test_the_three_messages_keep_what_they_carry_as_it_was_written() -> None:
    odd = b'{ "b" : 1.50,"a":"\\u00e9" }'
    assert read(b'{"id":"x","params":' + odd + b',"method":"tools/call","jsonrpc":"2.0"}') == Request(
        "x", "tools/call", odd
    )
    assert read(b'{"jsonrpc":"2.0","method":"m","params":' + odd + b"}") == Notification("m", odd)
    assert read(b'{"jsonrpc":"2.0","result":' + odd + b',"id":7}') == Reply(7, odd, error=False)
    assert read(b'{"jsonrpc":"2.0","id":null,"error":' + odd + b"}") == Reply(None, odd, error=True)


@pytest.mark.parametrize("text", [
    b"", b"hello", b"[]", b'[{"jsonrpc":"2.0","method":"a"}]', b'{"jsonrpc":"1.0","method":"a"}', b'{"method":"a"}',
    b'{"jsonrpc":"2.0","id":true,"method":"a"}', b'{"jsonrpc":"2.0","id":1.0,"result":{}}',
    b'{"jsonrpc":"2.0","id":9007199254740992,"result":{}}', b'{"jsonrpc":"2.0","id":null,"method":"a"}',
    b'{"jsonrpc":"2.0","id":null,"result":{}}', b'{"jsonrpc":"2.0","result":{}}', b'{"jsonrpc":"2.0","id":1}',
    b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', b'{"jsonrpc":"2.0","id":1,"method":"a","result":{}}',
    b'{"jsonrpc":"2.0","id":1,"result":[]}', b'{"jsonrpc":"2.0","id":1,"method":"a","params":[]}',
    b'{"jsonrpc":"2.0","id":1,"method":""}', b'{"jsonrpc":"2.0","id":1,"method":"a\\nb"}',
    b'{"jsonrpc":"2.0","id":1,"id":2,"result":{}}', b'{"jsonrpc":"2.0","id":1,"result":{},"result":{}}',
    b'{"jsonrpc":"2.0","id":1,"result":{"a":NaN}}', b'{"jsonrpc":"2.0","id":1,"result":{"a":"\xff"}}',
    b'{"jsonrpc":"2.0","id":1,"result":{}} {}', b'\xef\xbb\xbf{"jsonrpc":"2.0","method":"a"}',
    b'{"jsonrpc":"2.0","id":"' + b"x" * 300 + b'","result":{}}',
])  # fmt: skip
@pytest.mark.requirement("R30.9")
def test_what_two_readers_could_read_differently_is_no_message(text: bytes) -> None:
    with pytest.raises(Malformed):
        read(text)


def test_several_messages_in_one_are_refused_as_that() -> None:
    with pytest.raises(Malformed, match="batch") as refused:
        read(b' [{"jsonrpc":"2.0","id":1,"method":"a"}]')
    assert refused.value.rpc_code == messages.INVALID_REQUEST


def test_what_cannot_be_read_still_names_the_request_it_belongs_to() -> None:
    with pytest.raises(Malformed) as deep:
        read(b'{"jsonrpc":"2.0","id":3,"result":{"a":' + b"[" * 100 + b"]" * 100 + b"}}")
    assert deep.value.number == 3
    with pytest.raises(Malformed) as flat:
        read(b'{"jsonrpc":"2.0","id":3,"result":[]}')
    assert flat.value.number == 3


def test_a_carriage_return_never_leaves_in_what_is_passed_on() -> None:
    # Attack: where messages are sent as events, it would end a line in the middle of one.
    message = read(b'{"jsonrpc":"2.0","id":1,"result":{"a":1,\r"b":2}}\r')
    assert isinstance(message, Reply)
    assert b"\r" not in message.raw
    assert json.loads(message.raw) == {"a": 1, "b": 2}


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=6), st.sampled_from([None, 1, "\t"]))
def test_members_are_the_bytes_of_the_text_whatever_its_blanks(value: dict[str, object], indent: object) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False).encode()  # type: ignore[arg-type]
    found = members(text)
    assert {name: json.loads(raw) for name, raw in found.items()} == value
    assert all(raw in text for raw in found.values())
    assert json.loads(joined(found)) == value


@given(st.dictionaries(st.text(max_size=8), JSON, min_size=1, max_size=5), st.data())
def test_a_key_that_stands_twice_is_found_wherever_it_stands(value: dict[str, object], data: st.DataObject) -> None:
    again = data.draw(st.sampled_from(sorted(value)))
    pairs = [*value.items(), (again, data.draw(JSON))]
    text = "{" + ", ".join(f"{json.dumps(name)}: {json.dumps(each)}" for name, each in pairs) + "}"
    with pytest.raises(InputError):
        members(text.encode())


@given(JSON, st.integers(0, 6))
def test_depth_is_counted_as_a_reader_counts_it(value: object, levels: int) -> None:
    assert is_deeper(json.dumps(value, ensure_ascii=False).encode(), levels) == (depth(value) > levels)


def test_brackets_in_a_text_are_no_depth() -> None:
    assert not is_deeper(json.dumps({"a": "[" * 1000 + '\\"{'}).encode(), 2)


def test_the_longest_message_costs_no_more_than_reading_it() -> None:
    # Attack: text that makes a reader go back and forth in it. Quadratic would take minutes.
    began = time.monotonic()
    for inside in (b'\\"' * 1_000_000, b"[" * 1_000_000, b" " * 2_000_000):
        read(b'{"jsonrpc":"2.0","id":1,"result":{"a":"' + inside + b'"}}')
    assert time.monotonic() - began < 10


def test_what_is_written_is_read_again() -> None:
    assert read(messages.request(1, "a/b", b'{"x":1}')) == Request(1, "a/b", b'{"x":1}')
    assert read(messages.notification("a")) == Notification("a", b"{}")
    assert read(messages.result("q", b"{}")) == Reply("q", b"{}", error=False)
    assert read(messages.error(2, messages.error_object(-1, "no\n", {"a": 1}))) == Reply(
        2, b'{"code":-1,"message":"no\\n","data":{"a":1}}', error=True
    )
