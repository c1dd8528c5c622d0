"""Definitions and their digests, revisions and what a server says of itself, text of strangers made fit to be shown."""

from __future__ import annotations

import hashlib
import json

import pytest

from failwell.core.errors import InputError
from failwell.mcp.definitions import read_definition, read_page
from failwell.mcp.plain_text import clean
from failwell.mcp.results import asks_for_input, says_failed
from failwell.mcp.revisions import read_discovered, read_initialized, with_meta

TOOL = {"name": "read", "description": "Reads.", "inputSchema": {"type": "object"}}


def raw(value: object, **style: object) -> bytes:
    return json.dumps(value, **style).encode()  # type: ignore[arg-type]


def test_the_digest_is_of_the_whole_definition_and_of_nothing_about_its_spelling() -> None:
    definition = read_definition(raw(TOOL))
    assert definition.digest == read_definition(raw(dict(reversed(TOOL.items())), indent=3)).digest
    canonical = b'{"description":"Reads.","inputSchema":{"type":"object"},"name":"read"}'
    assert definition.digest == hashlib.sha256(canonical).hexdigest()
    others: list[dict[str, object]] = [{"title": "x"}, {"description": "Reads. "}, {"annotations": {}}, {"unknown": 1}]
    for more in others:
        assert read_definition(raw({**TOOL, **more})).digest != definition.digest


@pytest.mark.parametrize("text", [
    b"[]", b'{"name":"a"}', b'{"name":"","inputSchema":{}}', b'{"name":7,"inputSchema":{}}',
    b'{"name":"a\\u202eb","inputSchema":{}}', b'{"name":"a","inputSchema":[]}',
    b'{"name":"a","name":"b","inputSchema":{}}', b'{"name":"a","inputSchema":{"x":1,"x":2}}',
    b'{"name":"a","inputSchema":{"x":"\\ud800"}}', b'{"name":"a","inputSchema":{"maximum":1e999}}',
    raw({"name": "a", "inputSchema": {}, "description": "x" * 300_000}),
    b'{"name":"a","inputSchema":{"x":' + b"[" * 40 + b"]" * 40 + b"}}",
])  # fmt: skip
def test_a_definition_that_could_be_pinned_as_one_and_read_as_another_is_none(text: bytes) -> None:
    with pytest.raises(InputError):
        read_definition(text)


def test_a_page_keeps_what_was_written_and_refuses_what_is_no_list() -> None:
    page = read_page(b'{"tools":[ {"a" : 1} ,2],"nextCursor":"n"}', "tools")
    assert page == ((b'{"a" : 1}', b"2"), "n")
    assert read_page(b'{"tools":[]}', "tools") == ((), None)
    for text in (b"{}", b'{"tools":{}}', b'{"tools":[],"nextCursor":7}', b'{"tools":[],"tools":[{}]}'):
        with pytest.raises(InputError):
            read_page(text, "tools")


@pytest.mark.parametrize("text", [
    b"{}", b"[]", b'{"protocolVersion":"2026-07-28","capabilities":{}}', b'{"protocolVersion":7,"capabilities":{}}',
    b'{"protocolVersion":"2019-01-01","capabilities":{}}', b'{"protocolVersion":"2025-11-25"}',
])  # fmt: skip
def test_a_handshake_ends_in_a_revision_that_has_one_or_not_at_all(text: bytes) -> None:
    with pytest.raises(InputError):
        read_initialized(text)


def test_what_a_server_says_of_itself_is_cleaned_before_anybody_reads_it() -> None:
    said = read_initialized(raw({
        "protocolVersion": "2025-06-18", "capabilities": {"tools": {"listChanged": True}, "prompts": {}},
        "serverInfo": {"name": "good\u202e\x1b[31m", "version": "1"}, "instructions": "do\nthis",
    }))  # fmt: skip
    assert said.name == "good��[31m"
    assert said.instructions == "do this"
    assert said.tools_change
    assert said.methods == {"prompts/list", "prompts/get"}


def test_a_stateless_server_is_spoken_with_at_a_revision_that_both_know() -> None:
    assert read_discovered(b'{"supportedVersions":["2031-01-01","2026-07-28"],"capabilities":{}}').revision == (
        "2026-07-28"
    )
    for text in (b'{"supportedVersions":["2025-11-25"],"capabilities":{}}', b'{"capabilities":{}}'):
        with pytest.raises(InputError):
            read_discovered(text)


def test_only_our_meta_is_sent() -> None:
    assert with_meta(b'{"_meta":{"trace":1},"name": 1.0}', {"a": b"2"}) == b'{"_meta":{"a":2},"name":1.0}'
    assert with_meta(b'{"_meta":{"trace":1}}', {}) == b"{}"


def test_a_result_is_a_failure_unless_it_plainly_is_none() -> None:
    assert not says_failed(b'{"isError":false}')
    assert not says_failed(b"{}")
    assert says_failed(b'{"isError":true}')
    assert says_failed(b'{"isError":"false"}')
    assert says_failed(b'{"isError":0}')
    assert asks_for_input(b'{"resultType":"input_required"}')
    assert not asks_for_input(b'{"resultType":"complete"}')
    with pytest.raises(InputError):
        says_failed(b'{"isError":true,"isError":false}')


def test_text_is_one_line_of_what_can_be_seen() -> None:
    assert clean("a\r\nb\tc", 100) == "a  b c"
    assert clean("a\u200b\u202e\U000e0041\ue000b", 100) == "a����b"
    assert clean("👍\U000e0121\ufe0f", 100) == "👍��"
    assert clean("é漢字", 100) == "é漢字"
    assert clean("x" * 50, 10) == "x" * 9 + "…"
