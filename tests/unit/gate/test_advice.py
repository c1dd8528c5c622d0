"""What denied callers are told to do: something for each reserved clause, and commands that there are."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer

from failwell.cli.main import app
from failwell.core.contract import RESERVED
from failwell.gate.advice import ADVICE, advice

#: What these say themselves is what to do: the contract names the arguments, and the response rule who may pass.
SAY_IT_THEMSELVES = {"arguments", "authority.restricted"}


@pytest.mark.parametrize("clause", sorted(set(RESERVED) - SAY_IT_THEMSELVES))
def test_each_reserved_clause_comes_with_what_to_do(clause: str) -> None:
    assert advice([clause])
    assert advice([f"handing-bot/{clause}"]) == advice([clause]), "also where it is a delegator's"


def test_a_clause_of_a_contract_speaks_for_itself() -> None:
    assert advice(["refund-ceiling", "maybe/refund-ceiling"]) is None


def test_the_same_is_not_said_twice() -> None:
    assert advice(["ticket", "one/ticket"]) == ADVICE["ticket"]


@pytest.mark.parametrize("words", sorted(set(ADVICE.values())))
def test_the_commands_that_are_named_exist(words: str) -> None:
    for named in re.findall(r"failwell ((?:[a-z]+ ?){1,2})", words):
        found: Any = typer.main.get_command(app)
        for word in named.split():
            if (inner := getattr(found, "commands", {}).get(word)) is not None:
                found = inner
            else:
                assert not getattr(found, "commands", {}), f"failwell {named}: no {word}"
