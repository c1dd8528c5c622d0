"""Principal and request are a host's word, by its own credential; an agent's own is refused, not left out."""

from __future__ import annotations

import base64

import pytest

from failwell.gateway.inbound import Headers, Rejected
from failwell.gateway.on_behalf import MAX_REQUEST, NOBODY, Behalf, read


def said(**fields: str | bytes) -> Headers:
    return Headers(
        (f"failwell-{name}".encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in fields.items()
    )


def wrapped(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def test_without_headers_the_session_works_for_nobody_whoever_asks() -> None:
    assert read(said(), None) == read(said(), "shop") == NOBODY


def test_a_run_is_named_by_its_number_and_by_nothing_else_beside_it() -> None:
    assert read(said(run="17"), None) == Behalf(run=17)
    for fields in ({"run": "17", "principal": "customer:1"}, {"run": "17", "request": "refund"}):
        with pytest.raises(Rejected):
            read(said(**fields), "shop")


@pytest.mark.parametrize("run", ["", "0", "-1", "1.0", "017", " 1x", "1e3", "٣", "9" * 16, "1,2"])
def test_what_is_no_number_of_a_run_is_refused(run: str) -> None:
    with pytest.raises(Rejected):
        read(said(run=run), None)


def test_a_host_says_on_whose_behalf_in_ascii_or_wrapped() -> None:
    assert read(said(principal="customer:8841", request=wrapped("Paket verloren, bitte prüfen")), "shop") == Behalf(
        principal="customer:8841", request="Paket verloren, bitte prüfen", host="shop"
    )


@pytest.mark.parametrize("field", ["principal", "request"])
@pytest.mark.requirement("R3.23")
def test_an_agent_that_says_itself_on_whose_behalf_it_works_is_refused(field: str) -> None:
    with pytest.raises(Rejected) as refused:
        read(said(**{field: "customer:8841"}), None)
    assert refused.value.status == 403


@pytest.mark.parametrize("name", ["principle", "agent", "host", "ticket", "principal-kind"])
def test_a_header_of_ours_that_nobody_knows_is_refused_from_anybody(name: str) -> None:
    with pytest.raises(Rejected) as refused:
        read(said(**{name: "x"}), "shop")
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "value",
    ["", " ", "prüfen", "a\x00b", "=?base64?!?=", "=?base64?w7x=?=", "=?base64?/w==?=", wrapped("  "),
     wrapped("x" * (MAX_REQUEST + 1))],
)  # fmt: skip
def test_a_text_that_could_be_read_in_several_ways_is_refused(value: str) -> None:
    with pytest.raises(Rejected):
        read(said(request=value), "shop")


def test_the_agent_that_a_host_passes_on_is_named_by_that_host_only() -> None:
    assert read(said(agent="token", principal="customer:1"), "shop", passed_on=True).principal == "customer:1"
    with pytest.raises(Rejected):
        read(said(agent="token"), "shop")


def test_one_that_stands_twice_is_refused() -> None:
    twice = Headers([(b"failwell-principal", b"customer:1"), (b"Failwell-Principal", b"customer:2")])
    with pytest.raises(Rejected):
        read(twice, "shop")
