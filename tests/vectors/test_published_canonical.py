"""RFC 8785 as its authors publish it: sample, key order, number table and the reference test data."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from failwell.core.canonical import jcs, number_text, parse
from failwell.core.errors import InputError

HERE = Path(__file__).parent
RFC: dict[str, Any] = json.loads((HERE / "rfc8785.json").read_text())
EXAMPLES: list[list[str]] = json.loads((HERE / "json_canonicalization.json").read_text())["examples"]


def double(bits: str) -> float:
    value: float = struct.unpack(">d", bytes.fromhex(bits))[0]
    return value


def test_the_sample_of_section_3_2_2_gives_the_bytes_of_section_3_2_4() -> None:
    assert jcs(parse(RFC["sample"]["input"])).hex() == RFC["sample"]["bytes_hex"]


def test_keys_sort_by_utf16_code_units_as_in_section_3_2_3() -> None:
    written = json.loads(jcs(parse(RFC["order"]["input"])))
    assert list(written.values()) == RFC["order"]["values"]


@pytest.mark.parametrize(("bits", "text"), RFC["numbers"])
def test_numbers_of_appendix_b(bits: str, text: str) -> None:
    assert number_text(double(bits)) == text
    assert jcs([double(bits)]) == b"[" + text.encode() + b"]"


@pytest.mark.parametrize("bits", RFC["refused_numbers"])
def test_nan_and_infinities_of_appendix_b_are_refused(bits: str) -> None:
    with pytest.raises(InputError):
        number_text(double(bits))


@pytest.mark.parametrize(("name", "given", "wanted"), EXAMPLES)
def test_reference_test_data(name: str, given: str, wanted: str) -> None:
    assert jcs(parse(given)).decode() == wanted, name
    assert jcs(parse(wanted)).decode() == wanted, name
