"""What the headers of an MCP request say is held against its body, and what cannot be relied on is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from failwell.gateway import inbound
from failwell.gateway.inbound import Headers, Rejected
from failwell.gateway.messages import INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, UNSUPPORTED_REVISION

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


def headers(**fields: str) -> Headers:
    return Headers((name.replace("_", "-").encode(), value.encode()) for name, value in fields.items())


def body(method: str = "tools/call", **params: Any) -> bytes:
    told = {"name": "read_file", "arguments": {}, "_meta": META, **params}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": told}).encode()


GOOD = {"mcp_protocol_version": "2026-07-28", "mcp_method": "tools/call", "mcp_name": "read_file"}


def stateless(raw: bytes, **fields: str) -> str:
    return inbound.check_stateless(headers(**{**GOOD, **fields}), inbound.read_message(raw))


def test_a_request_whose_headers_say_what_its_body_says_is_taken() -> None:
    assert stateless(body()) == "2026-07-28"
    wrapped = base64.b64encode("prüfen".encode()).decode()
    assert stateless(body(name="prüfen"), mcp_name=f"=?base64?{wrapped}?=") == "2026-07-28"


@pytest.mark.parametrize(
    "fields",
    [
        {"mcp_method": "tools/list"}, {"mcp_name": "delete_file"}, {"mcp_name": "READ_FILE"},
        {"mcp_protocol_version": "2027-01-01"}, {"mcp_name": "=?base64?cmVhZF9maWxl"},
        {"mcp_name": "=?base64?cmVhZF9maWxlX?="}, {"mcp_name": ""}, {"mcp_method": "tools/call, tools/list"},
    ],
)  # fmt: skip
def test_headers_that_say_another_thing_than_the_body_are_refused(fields: dict[str, str]) -> None:
    with pytest.raises(Rejected) as refused:
        stateless(body(), **fields)
    assert (refused.value.status, refused.value.fault.number) == (400, inbound.HEADER_MISMATCH)


@pytest.mark.parametrize("absent", ["mcp_protocol_version", "mcp_method", "mcp_name"])
def test_a_header_that_is_not_there_says_nothing_that_a_proxy_could_have_routed_by(absent: str) -> None:
    fields = {name: value for name, value in GOOD.items() if name != absent}
    with pytest.raises(Rejected) as refused:
        inbound.check_stateless(headers(**fields), inbound.read_message(body()))
    assert refused.value.fault.number == inbound.HEADER_MISMATCH


@pytest.mark.parametrize("name", ["mcp-protocol-version", "mcp-method", "mcp-name", "mcp-session-id", "failwell-run"])
def test_a_header_that_stands_twice_has_no_value(name: str) -> None:
    twice = Headers([(name.encode(), b"a"), (name.upper().encode(), b"a")])
    with pytest.raises(Rejected):
        twice.one(name)


def test_a_revision_that_nobody_knows_is_told_which_ones_are_spoken() -> None:
    meta = {**META, "io.modelcontextprotocol/protocolVersion": "2027-01-01"}
    with pytest.raises(Rejected) as refused:
        stateless(body(_meta=meta), mcp_protocol_version="2027-01-01")
    assert refused.value.fault.number == UNSUPPORTED_REVISION
    assert refused.value.fault.data == {"supported": ["2026-07-28"], "requested": "2027-01-01"}


@pytest.mark.parametrize("meta", [{}, None, [], {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}])
def test_a_request_without_its_envelope_is_refused(meta: Any) -> None:
    with pytest.raises(Rejected) as refused:
        stateless(body(_meta=meta))
    assert refused.value.fault.number == INVALID_PARAMS


def test_eras_are_told_apart_by_the_header() -> None:
    assert not inbound.is_stateless(headers())
    assert not inbound.is_stateless(headers(mcp_protocol_version="2025-11-25"))
    assert inbound.is_stateless(headers(mcp_protocol_version="2026-07-28"))
    assert inbound.is_stateless(headers(mcp_protocol_version="1999-01-01"))


@pytest.mark.parametrize(
    ("raw", "number"),
    [(b"", PARSE_ERROR), (b"{", PARSE_ERROR), (b"[" * 5000, INVALID_REQUEST), (b'[{"jsonrpc":"2.0"}]', INVALID_REQUEST),
     (b" \n[]", INVALID_REQUEST), (b'{"id":1,"method":"ping"}', INVALID_REQUEST),
     (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', INVALID_REQUEST), (b"\xff", PARSE_ERROR)],
)  # fmt: skip
def test_what_is_not_one_message_is_refused(raw: bytes, number: int) -> None:
    with pytest.raises(Rejected) as refused:
        inbound.read_message(raw)
    assert (refused.value.status, refused.value.fault.number) == (400, number)


@pytest.mark.parametrize(
    "accept",
    ["application/json, text/event-stream", "*/*", "application/*;q=0.5, TEXT/*", "text/event-stream,application/json"],
)
def test_a_caller_that_takes_both_forms_of_an_answer_is_served(accept: str) -> None:
    inbound.check_accept(headers(accept=accept), "application/json", "text/event-stream")


@pytest.mark.parametrize(
    "accept", ["application/json", "text/event-stream", "", "text/html", "application/jsonx, text/event-streams"]
)
def test_a_caller_that_does_not_say_that_it_takes_both_is_told_so(accept: str) -> None:
    with pytest.raises(Rejected) as refused:
        inbound.check_accept(headers(accept=accept), "application/json", "text/event-stream")
    assert refused.value.status == 406


@pytest.mark.parametrize(
    "kind", ["text/plain", "", "application/jsonp", "application/json, text/plain", "multipart/form-data"]
)
def test_a_form_that_a_page_can_send_without_asking_first_is_no_request(kind: str) -> None:
    with pytest.raises(Rejected) as refused:
        inbound.check_content_type(headers(content_type=kind))
    assert refused.value.status == 415
    inbound.check_content_type(headers(content_type="application/json; charset=utf-8"))


@pytest.mark.parametrize("named", ["", "a b", "ä", "x" * 129, "a\x7f"])
def test_what_cannot_name_a_session_names_none(named: str) -> None:
    with pytest.raises(Rejected) as refused:
        inbound.session_id(Headers([(b"mcp-session-id", named.encode())]))
    assert refused.value.status == 404


SCHEMA = {
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"}, "text": {"type": "string"},
        "of": {"properties": {"count": {"type": "integer", "x-mcp-header": "Count"}}},
    }
}  # fmt: skip


def test_a_header_that_repeats_an_argument_says_what_the_argument_says() -> None:
    inbound.check_parameters(headers(mcp_param_region="eu"), SCHEMA, b'{"region":"eu","text":"x"}')
    inbound.check_parameters(headers(mcp_param_count="42"), SCHEMA, b'{"of":{"count":42.0}}')
    inbound.check_parameters(headers(mcp_param_region="=?base64?w7w=?="), SCHEMA, '{"region":"\u00fc"}'.encode())
    inbound.check_parameters(headers(), SCHEMA, b'{"region":null}')


@pytest.mark.parametrize(
    ("fields", "arguments"),
    [({"mcp_param_region": "us"}, b'{"region":"eu"}'), ({}, b'{"region":"eu"}'), ({"mcp_param_region": "eu"}, b"{}"),
     ({"mcp_param_region": "eu"}, b"[]"),
     ({"mcp_param_region": "eu", "mcp_param_count": "2"}, b'{"region":"eu","of":{"count":1}}'),
     ({"mcp_param_region": "=?base64?!?="}, b'{"region":"eu"}'),
     ({"mcp_param_region": "=?base64?!?="}, b"{}"), ({"mcp_param_region": "['eu']"}, b'{"region":["eu"]}')],
)  # fmt: skip
def test_a_call_that_a_proxy_would_send_elsewhere_than_its_arguments_say_is_refused(
    fields: dict[str, str], arguments: bytes
) -> None:
    with pytest.raises(Rejected) as refused:
        inbound.check_parameters(headers(**fields), SCHEMA, arguments)
    assert refused.value.fault.number == inbound.HEADER_MISMATCH
