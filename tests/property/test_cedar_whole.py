"""Compiling per tool, handing over only what is read and typing by schema change no verdict (D22)."""

from __future__ import annotations

import pytest

from tests.property import cedar_whole, drawn
from tests.property.cedar_whole import Disagreement


def test_verdicts_are_those_of_cedar_on_the_uncompiled_whole(seed: int) -> None:
    counted = cedar_whole.compare_pairs(2000, seed)
    assert counted["pairs"] >= 2000
    # What agrees must be worth something: every verdict, and most arguments as declared.
    assert min(counted["ALLOW"], counted["DENY"], counted["ESCALATE"]) > 100, counted
    assert counted["untyped"] < counted["pairs"] // 2, counted
    assert 0 < counted["unanswered"] < counted["pairs"] // 4, counted


def test_the_comparison_would_notice_a_clause_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    written = drawn.yaml_of
    monkeypatch.setattr(drawn, "yaml_of", lambda each: written({**each, "clauses": each["clauses"][1:]}))
    with pytest.raises(Disagreement):
        cedar_whole.compare_pairs(2000, 1)


def test_the_comparison_would_notice_an_operator_that_is_read_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    written = drawn.cedar
    monkeypatch.setattr(drawn, "cedar", lambda expr: written(expr).replace("<=", "<"))
    with pytest.raises(Disagreement, match="the reference does not"):
        cedar_whole.compare_pairs(2000, 5)
