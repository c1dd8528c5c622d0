"""Names: SPIFFE IDs, and the names that are refused because a person would take them for another."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failwell.core import orders
from failwell.core.errors import InputError, Refused
from failwell.identity import names


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("refund-bot", "refund-bot"),
        ("a", "a"),
        ("a" * 63, "a" * 63),
        ("spiffe://shop.example/agent/refund-bot", "refund-bot"),
        ("spiffe://shop.example/refund-bot", "refund-bot"),
        ("spiffe://prod_1.shop.example/ns/default/sa/refund_bot.v2", "refund_bot.v2"),
    ],
)
def test_an_agent_has_a_full_and_a_short_name(name: str, short: str) -> None:
    assert names.parse_agent(name) == names.AgentName(name, short)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a" * 64,
        "Refund-bot",
        "refund bot",
        "refund-bot\n",
        "refund-bot\x00",
        "-refund",
        "refund-",
        ".hidden",
        "a..b",
        "../refund-bot",
        "team:payments",
        "refund-b\u043et",
        "refund\u2010bot",
        "refund-bot\u200b",
        "\uff52efund-bot",
        "refund-b\u00f6t",
        "1\u0661",
        "http://shop.example/refund-bot",
        "SPIFFE://shop.example/agent/refund-bot",
        "spiffe:/shop.example/refund-bot",
        "spiffe://",
        "spiffe://shop.example",
        "spiffe://shop.example/",
        "spiffe:///refund-bot",
        "spiffe://shop.example:443/refund-bot",
        "spiffe://user@shop.example/refund-bot",
        "spiffe://Shop.example/refund-bot",
        "spiffe://shop..example/refund-bot",
        "spiffe://shop.example/agent//refund-bot",
        "spiffe://shop.example/agent/refund-bot/",
        "spiffe://shop.example/./refund-bot",
        "spiffe://shop.example/../refund-bot",
        "spiffe://shop.example/agent/..",
        "spiffe://shop.example/refund-bot?x=1",
        "spiffe://shop.example/refund-bot#x",
        "spiffe://shop.example/refund%2Dbot",
        "spiffe://sh\u043ep.example/refund-bot",
        "spiffe://shop.example/" + "a" * 64,
        "spiffe://shop.example/" + "a/" * 150 + "b",
    ],
)
def test_what_is_no_name_or_only_looks_like_one_is_refused(name: str) -> None:
    with pytest.raises(InputError) as caught:
        names.parse_agent(name)
    assert caught.value.message.startswith("agent")


def test_a_letter_of_another_script_is_named_by_its_code_point() -> None:
    with pytest.raises(InputError, match=r"character 9 is U\+043E, not ASCII"):
        names.check_name("refund-b\u043et")


@pytest.mark.parametrize(
    "other",
    ["refund-bot", "refund_bot", "refund.bot", "refund--bot", "refund-b0t"],
)
def test_a_name_taken_for_another_at_a_glance_is_refused(other: str) -> None:
    with pytest.raises(Refused, match="taken"):
        names.check_distinct(other, ["mail-bot", "refund-bot"])


@pytest.mark.parametrize(("one", "other"), [("rnail-bot", "mail-bot"), ("agent-l", "agent-1"), ("vvatch", "watch")])
def test_letters_that_melt_into_others_are_refused(one: str, other: str) -> None:
    with pytest.raises(Refused, match=f"{one} looks like {other}"):
        names.check_distinct(one, [other])


def test_a_thousand_numbered_agents_are_told_apart() -> None:
    taken = [f"agent-{number:04d}" for number in range(300)]
    for place, name in enumerate(taken):
        names.check_distinct(name, taken[:place])


@settings(max_examples=300)
@given(
    st.text(alphabet="ab0.-_/:%A\u043e spife", max_size=30).map(lambda tail: "spiffe://" + tail) | st.text(max_size=20)
)
def test_every_name_accepted_here_can_be_ordered_about(name: str) -> None:
    try:
        names.parse_agent(name)
    except InputError:
        return
    assert msgspec.convert(name, orders.AgentId) == name


@settings(max_examples=300)
@given(st.text(alphabet="ab0.-_/A\u043e", max_size=6) | st.text(max_size=70))
def test_every_person_accepted_here_can_sign(name: str) -> None:
    try:
        names.check_name(name)
    except InputError:
        return
    assert msgspec.convert(name, orders.Name) == name


def test_the_configuration_directory_follows_the_environment() -> None:
    home = Path("/home/ann")
    assert names.config_directory({}, home) == Path("/home/ann/.config/failwell")
    assert names.config_directory({"XDG_CONFIG_HOME": "/x"}, home) == Path("/x/failwell")
    assert names.config_directory({"XDG_CONFIG_HOME": "relative"}, home) == Path("/home/ann/.config/failwell")
    own = {"XDG_CONFIG_HOME": "/x", "FAILWELL_CONFIG": "/own"}
    assert names.config_directory(own, home) == Path("/own")
    assert names.config_directory({"FAILWELL_CONFIG": ""}, home) == Path("/home/ann/.config/failwell")


def test_an_odd_origin_never_becomes_a_path(tmp_path: Path) -> None:
    for origin in ("../../etc", "/etc", "a/b", "\u043e"):
        assert names.agent_key_path(tmp_path, origin, "bot").parent.parent == tmp_path / "agents"
