"""A door on loopback is asked by its own names only: not by pages whose name was made to resolve to it."""

from __future__ import annotations

import pytest

from failwell.core.errors import InputError
from failwell.gateway.origins import Names

HERE = Names.of("127.0.0.1:8080")


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080", "[::1]:8080"])
def test_a_door_on_loopback_is_asked_by_its_own_names(host: str) -> None:
    assert HERE.takes_host(host, "http")


@pytest.mark.parametrize(
    "host",
    [None, "", "evil.example", "evil.example:8080", "127.0.0.1", "127.0.0.1:80", "localhost:8081",
     "localhost.evil.example:8080", "127.0.0.1:8080.evil.example",
     "localhost:8080@evil.example", "127.0.0.1:8080:8080", "0.0.0.0:8080"],
)  # fmt: skip
def test_a_page_whose_name_was_rebound_to_loopback_is_turned_away(host: str | None) -> None:
    assert not HERE.takes_host(host, "http")


@pytest.mark.parametrize(
    "origin",
    ["null", "", "http://evil.example", "http://evil.example:8080", "https://localhost.evil.example:8080",
     "file://", "chrome-extension://abc", "http://localhost:3000", "http://", "localhost:8080"],
)  # fmt: skip
def test_no_page_of_another_origin_asks(origin: str) -> None:
    assert not HERE.takes_origin(origin)


def test_a_program_sends_no_origin_and_is_taken() -> None:
    assert HERE.takes_origin(None)
    assert HERE.takes_origin("http://localhost:8080")


def test_names_that_the_operator_gives_it_count_with_their_own_port_or_those_of_the_schemes() -> None:
    named = Names.of("10.0.0.7:8443", ("gateway.example", "other.example:9000"))
    assert named.takes_host("gateway.example", "https")
    assert named.takes_host("gateway.example:8443", "https")
    assert named.takes_host("other.example:9000", "https")
    assert not named.takes_host("other.example", "https")
    assert not named.takes_host("localhost:8443", "https")


@pytest.mark.parametrize("name", ["", "*", "*.example", "a b", "http://x", "x:0", "x:99999999", "x/y", "-x"])
def test_what_is_no_name_is_refused_at_the_start(name: str) -> None:
    with pytest.raises(InputError):
        Names.of("127.0.0.1:1", (name,))
