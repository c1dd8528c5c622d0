"""Adding to failwell.toml: what stands there stays, and what is added reads as what was meant, or nothing is added."""

from __future__ import annotations

import tomllib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from failwell.core.errors import InputError
from failwell.node.kept import SecretSettings
from failwell.node.reached import UpstreamSettings
from failwell.node.settings import DEFAULT_TEXT, parse_settings
from failwell.node.settings_edit import with_pins, with_upstreams

A, B = "a" * 64, "b" * 64
SERVER = UpstreamSettings(command=("/bin/server", "--here"), tools={"read": A, "write.now": B})
_WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True)


@given(
    st.lists(_WORDS, min_size=1, max_size=3), st.dictionaries(_NAMES, _WORDS, max_size=3),
    st.dictionaries(_WORDS, st.sampled_from([A, B]), max_size=3), st.dictionaries(_WORDS, st.sampled_from([A, B])),
)  # fmt: skip
def test_whatever_a_client_or_a_server_wrote_is_read_back_as_it_was(
    command: list[str], env: dict[str, str], pins: dict[str, str], later: dict[str, str]
) -> None:
    server = UpstreamSettings(command=tuple(command), env=env, tools=pins)
    before = "[node]\nidle_s = 5\n# mine\n"
    text = with_upstreams(before, {"one": server, "two": SERVER}, {}, "From a client.")
    assert text.startswith(before)
    assert parse_settings(text).upstreams == {"one": server, "two": SERVER}
    pinned = parse_settings(with_pins(text, "one", later)).upstreams
    assert pinned == {"one": msgspec.structs.replace(server, tools=later), "two": SERVER}


@pytest.mark.parametrize("before", ["", "\n\n", "[node]\nidle_s = 5", DEFAULT_TEXT, '# only a remark, "[x]"'])
def test_what_stands_there_stays_and_secrets_are_only_named(before: str) -> None:
    server = msgspec.structs.replace(SERVER, secrets={"KEY": "s.key"})
    text = with_upstreams(before, {"s": server}, {"s.key": SecretSettings(file="secrets/s.key")}, "Said.")
    assert text.startswith(before.rstrip("\n"))
    assert parse_settings(text).secrets["s.key"].file == "secrets/s.key"
    assert with_upstreams(text, {}, {}, "Nothing.") == text


@pytest.mark.parametrize(
    "text",
    [
        '[upstreams.s]\ncommand = ["/x"]\ntools = {read = "' + A + '"}  # as it was\n\n[node]\nidle_s = 5 # mine\n',
        '[upstreams.s]\ncommand = ["/x"]\n\n[upstreams.s.tools]\nread = "' + A + '"\n\n# mine\n[node]\nidle_s = 5\n',
        '[node]\nidle_s = 5\n[ upstreams . "s" . tools ]\nread = "' + A + '"\n# mine\n[upstreams.s]\ncommand = ["/x"]',
        '[upstreams.s]\ncommand = ["/x"]\n[node]\nidle_s = 5 # mine',
    ],
)
def test_pins_take_the_place_of_earlier_ones_however_they_were_written(text: str) -> None:
    edited = with_pins(text, "s", {"look": B})
    assert tomllib.loads(edited)["upstreams"]["s"] == {"command": ["/x"], "tools": {"look": B}}
    assert tomllib.loads(edited)["node"] == {"idle_s": 5}
    assert "# mine" in edited or "# mine" not in text
    assert with_pins(edited, "s", {"look": B}) == edited


@pytest.mark.parametrize(
    "text",
    ['upstreams.s.command = ["/x"]\nupstreams.s.tools = {read = "' + A + '"}',
     'upstreams = {s = {command = ["/x"], tools = {read = "' + A + '"}}}',
     "[upstreams.s]\ncommand = ['/x']\n[upstreams.s.tools]\nread = '''" + A + "''' \nnote = '''\n[x]\n'''"],
)  # fmt: skip
def test_where_nothing_can_be_added_safely_a_person_is_told_what_to_write(text: str) -> None:
    with pytest.raises(InputError, match="cannot be added to") as caught:
        with_pins(text, "s", {"look": B})
    assert f'look = "{B}"' in (caught.value.hint or "")


def test_a_file_that_is_no_toml_and_a_server_that_is_not_there_are_said() -> None:
    with pytest.raises(InputError, match="failwell"):
        with_upstreams("[node", {"s": SERVER}, {}, "x")
    with pytest.raises(InputError, match=r"no \[upstreams.t\]"):
        with_pins(DEFAULT_TEXT, "t", {})
