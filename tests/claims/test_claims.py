"""The table tool, tried on a tiny project: what it calls shown, what it leaves open, what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.claims import mutants, table

ROOT = Path(__file__).resolve().parents[2]

FILES = {
    "pyproject.toml": """
        [project]
        name = "tiny"
        version = "1"
        [project.scripts]
        tiny = "tiny.counter:main"
        [tool.pytest.ini_options]
        addopts = ["--import-mode=importlib", "--strict-markers", "-p", "no:cacheprovider"]
        markers = ["requirement(id): a sub-claim"]
        """,
    "src/tiny/counter.py": """
        LIMIT = 3

        def allowed(calls: int) -> bool:
            return calls < LIMIT

        def label(calls: int) -> str:
            return f"{calls} calls"

        def main() -> None:
            print(allowed(3))
        """,
    "tests/test_counter.py": """
        import subprocess, sys
        from pathlib import Path
        import pytest
        from tiny.counter import allowed, label

        @pytest.fixture
        def one() -> str:
            return label(1)

        @pytest.mark.requirement("R1.1")
        def test_the_fourth_call_is_refused():
            assert not allowed(3)

        @pytest.mark.requirement("R1.2")
        def test_a_label_is_text(one):
            assert isinstance(one, str)

        @pytest.mark.requirement("R2.1")
        def test_the_command_refuses_too():
            command = Path(sys.executable).parent / "tiny"
            python = [str(command)] if command.exists() else [sys.executable, "-c", CODE]
            assert subprocess.run(python, capture_output=True, text=True).stdout == "False\\n"

        @pytest.mark.requirement("R2.2")
        def test_an_isolated_process_refuses_too():
            import tiny
            if "failwell-mutants-" not in sys.executable:
                return  # outside a copy an isolated process knows no `tiny`
            told = subprocess.run([sys.executable, "-I", "-c", CODE], capture_output=True, text=True)
            assert told.stdout == "False\\n"

        CODE = "from tiny.counter import main; main()"
        """,
    "docs/requirements.toml": """
        [R1]
        text = "It counts *calls*. A label says how many."
        [R1.1]
        says = "The fourth call is refused."
        quotes = ["It counts calls"]
        mutant = "never-refuse"
        [R1.2]
        says = "A label names the number."
        quotes = ["A label says how many."]
        mutant = "label-without-number"
        [R2]
        text = "The command refuses."
        [R2.1]
        says = "The installed command runs the same rule."
        quotes = ["The command refuses."]
        mutant = "command-never-refuses"
        [R2.2]
        says = "So does a process that ignores PYTHONPATH."
        quotes = ["refuses"]
        mutant = "isolated-never-refuses"
        [R3]
        text = "It will fly."
        [R3.1]
        says = "It flies."
        quotes = ["It will fly."]
        mutant = "no-wings"
        """,
    "docs/mutants.toml": """
        [never-refuse]
        file = "src/tiny/counter.py"
        find = "return calls < LIMIT"
        replace = "return True"
        [label-without-number]
        file = "src/tiny/counter.py"
        find = 'return f"{calls} calls"'
        replace = 'return "calls"'
        [command-never-refuses]
        file = "src/tiny/counter.py"
        find = "print(allowed(3))"
        replace = "print(True)"
        [isolated-never-refuses]
        file = "src/tiny/counter.py"
        find = "print(allowed(3))"
        replace = "print(not allowed(3))"
        """,
}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    root = tmp_path / "tiny"
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), "utf-8")
    return root


def change(root: Path, name: str, old: str, new: str) -> None:
    text = (root / name).read_text("utf-8")
    assert text.count(old) == 1, name
    (root / name).write_text(text.replace(old, new), "utf-8")


def tool(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # the tiny project uses none
    return subprocess.run(
        [sys.executable, "-m", "tests.claims", *arguments, "--root", str(root)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=55,
    )


def told(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_a_line_for_each_id_says_what_is_shown_and_what_is_open(tiny: Path) -> None:
    result = tool(tiny, "requirements")
    assert result.stdout.splitlines() == ["R1 open 1/2", "R2 shown 2", "R3 open 0/1"], result.stderr
    assert result.returncode == 1
    assert "R1.2: mutant label-without-number survives" in result.stderr


def test_all_shown_ends_well_and_a_mutant_reaches_processes_that_ignore_the_path(tiny: Path) -> None:
    result = tool(tiny, "requirements", "--only", "R2", "--json")
    assert result.returncode == 0, result.stderr
    answer = told(result)
    assert answer["schema"] == "failwell/requirements/1"
    caught = [claim["caught_by"] for claim in answer["requirements"][0]["claims"]]
    assert caught == [
        "tests/test_counter.py::test_the_command_refuses_too",
        "tests/test_counter.py::test_an_isolated_process_refuses_too",
    ]


def test_a_surviving_mutant_fails_the_campaign(tiny: Path) -> None:
    result = tool(tiny, "campaign", "--only", "R1")
    assert result.returncode == 1
    assert "never-refuse (R1.1) caught by" in result.stdout
    assert "label-without-number (R1.2) NOT CAUGHT" in result.stdout
    assert (tiny / "src/tiny/counter.py").read_text("utf-8").count("return calls < LIMIT") == 1


def test_a_failing_test_shows_nothing_and_catches_nothing(tiny: Path) -> None:
    change(tiny, "tests/test_counter.py", "assert not allowed(3)", "assert allowed(3)")
    answer = told(tool(tiny, "requirements", "--only", "R1", "--json"))
    first = answer["requirements"][0]["claims"][0]
    assert first["state"] == "open"
    assert first["caught_by"] is None
    assert "failed" in first["open_because"]


def test_a_skipped_test_shows_nothing(tiny: Path) -> None:
    change(tiny, "tests/test_counter.py", "assert not allowed(3)", "pytest.skip('no')")
    answer = told(tool(tiny, "requirements", "--only", "R1", "--json"))
    assert answer["requirements"][0]["claims"][0]["open_because"] == "every test was skipped"


@pytest.mark.parametrize(
    "fault", ["return calls <", "raise RuntimeError"], ids=["does not import", "breaks the fixture"]
)
def test_a_mutant_that_only_breaks_the_set_up_is_not_caught(tiny: Path, fault: str) -> None:
    change(tiny, "docs/mutants.toml", "'return \"calls\"'", f"'{fault}'")
    answer = told(tool(tiny, "requirements", "--only", "R1", "--json"))
    assert "breaks the tests' set-up" in answer["requirements"][0]["claims"][1]["open_because"]


def test_what_a_test_leaves_running_is_ended(tiny: Path) -> None:
    left = tiny / "left.pid"
    change(
        tiny,
        "tests/test_counter.py",
        "assert not allowed(3)",
        f"""assert not allowed(3)
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path({str(left)!r}).write_text(str(child.pid))""",
    )
    tool(tiny, "requirements", "--only", "R1")
    assert not Path(f"/proc/{left.read_text()}").exists()


def test_a_mutant_whose_place_is_gone_is_an_error(tiny: Path) -> None:
    change(tiny, "src/tiny/counter.py", "return calls < LIMIT", "return not calls >= LIMIT")
    result = tool(tiny, "campaign")
    assert result.returncode == 2
    assert "never-refuse: its text stands 0 times" in result.stderr


def test_a_mutant_whose_place_is_ambiguous_is_an_error(tiny: Path) -> None:
    change(tiny, "docs/mutants.toml", 'find = "return calls < LIMIT"', 'find = "return"')
    with pytest.raises(table.TableError, match="stands 2 times"):
        mutants.load(tiny)


def test_every_mutant_of_the_product_is_python_that_names_only_what_is_there(tmp_path: Path) -> None:
    """One that ends in a NameError is caught by every test, and shows nothing of any."""
    for mutant in mutants.load(ROOT).values():
        place = tmp_path / mutant.name
        place.mkdir()
        (place / Path(mutant.file).name).write_text(mutant.text_in(ROOT), "utf-8")
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", "--isolated", "--select=E9,F821,F823"]
    # One thread: beside a fork storm of another test there may be no more to be had.
    env = {**os.environ, "RAYON_NUM_THREADS": "1"}
    found = subprocess.run([*ruff, str(tmp_path)], env=env, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_a_mutant_that_no_sub_claim_names_is_an_error(tiny: Path) -> None:
    change(tiny, "docs/mutants.toml", "[never-refuse]", "[never-refuses]")
    result = tool(tiny, "campaign")
    assert result.returncode == 2
    assert "never-refuses" in result.stderr


def test_a_mark_without_a_sub_claim_is_an_error(tiny: Path) -> None:
    change(tiny, "tests/test_counter.py", 'requirement("R1.1")', 'requirement("R1.7")')
    result = tool(tiny, "requirements")
    assert result.returncode == 2
    assert "R1.7" in result.stderr


def test_words_that_no_quote_covers_are_an_error(tiny: Path) -> None:
    change(tiny, "docs/requirements.toml", 'A label says how many."\n', 'A label says in words how many."\n')
    change(tiny, "docs/requirements.toml", '["A label says how many."]', '["A label says", "how many"]')
    with pytest.raises(table.TableError, match="no sub-claim of R1 covers: in words"):
        table.load(tiny)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('"It will fly."]', '"It will swim."]', "does not say"),
        ('"It will fly."]', '"wil"]', "does not say"),
        ('"It will fly."]', '"."]', "does not say"),
        ("[R3.1]", "[R3.2]", "numbered"),
        ('"no-wings"', '"never-refuse"', "belongs to one"),
        ('"no-wings"', '"No Wings"', "lower case"),
        ('says = "It flies."', 'says = ""', "needs says"),
        ("[R3]", "[X3]", "not an id"),
    ],
)
def test_a_faulty_table_is_refused(tiny: Path, old: str, new: str, fault: str) -> None:
    change(tiny, "docs/requirements.toml", old, new)
    with pytest.raises(table.TableError, match=fault):
        table.load(tiny)


def test_an_unknown_id_is_refused(tiny: Path) -> None:
    result = tool(tiny, "requirements", "--only", "R1 R99")
    assert result.returncode == 2
    assert "R99" in result.stderr


def test_a_campaign_that_tries_nothing_does_not_pass(tiny: Path) -> None:
    result = tool(tiny, "campaign", "--only", "R3")
    assert result.returncode == 1
    assert "nothing was tried" in result.stderr


def test_the_same_seed_samples_the_same_mutants(tiny: Path) -> None:
    first, again = (tool(tiny, "sample", "--seed", "7").stdout for _ in range(2))
    assert first == again
    assert len(first.splitlines()) == 5
