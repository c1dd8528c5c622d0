"""What an operator declares of a tool: a command, a server, or the database that holds a function's work."""

from __future__ import annotations

import pytest

from failwell.core.errors import InputError
from failwell.node.settings import parse_settings


def test_a_function_of_the_agents_program_needs_no_command_where_a_transaction_holds_its_work() -> None:
    (tool,) = parse_settings('[tools."books.write"]\ntransaction = "books.db"').tools.values()
    assert (tool.runs_function, tool.command) == (True, ())


@pytest.mark.parametrize("said", ["", 'cwd = "/srv"', 'fence = ["true"]', 'confirm = ["true"]'])
def test_a_tool_for_which_nothing_runs_is_refused_with_what_to_say(said: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_settings(f'[tools."books.write"]\n{said}')
    assert refused.value.hint
