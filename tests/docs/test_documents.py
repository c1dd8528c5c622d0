"""README, tutorial and the rest: their examples run, their links lead somewhere, the ids they name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.claims import table
from tests.docs import documents

ROOT = documents.ROOT
RUN = [
    "README.md", "docs/tutorial.md", "docs/contract.md", "docs/contract-commands.md", "docs/custody.md",
    "docs/stopping.md", "docs/python.md", "docs/gateway.md", "docs/http.md",
    "docs/upstreams.md",
]  # fmt: skip
READ = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README_LINES = 150


@pytest.mark.parametrize("name", RUN)
@pytest.mark.timeout(180)
def test_the_examples_of_a_document_run(name: str, tmp_path: Path) -> None:
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"{name} is not written yet")
    assert documents.run(path, tmp_path) > 0, f"{name} shows no example"


@pytest.mark.parametrize("path", READ, ids=[str(path.relative_to(ROOT)) for path in READ])
def test_links_inside_the_project_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target):
            assert (path.parent / target.partition("#")[0]).exists(), f"{path.name}: {target}"


@pytest.mark.parametrize("path", READ, ids=[str(path.relative_to(ROOT)) for path in READ])
def test_requirements_that_a_document_names_exist(path: Path) -> None:
    whole = table.load(ROOT)
    known = {r.id for r in whole} | {c.id for r in whole for c in r.claims}
    named = set(re.findall(r"\bR[1-9][0-9]*(?:\.[0-9]+)?\b", path.read_text("utf-8")))
    assert named <= known


def test_the_readme_stays_short() -> None:
    if not (ROOT / "README.md").exists():
        pytest.skip("README.md is not written yet")
    assert (ROOT / "README.md").read_text("utf-8").count("\n") <= README_LINES


DOCUMENT = """
<!-- file: notes/one.txt -->
```text
caught
```

```console
$ cat notes/one.txt
caught
$ make test
$ printf 'a\\nb 12:00:03\\nc\\n'
a
b ...
c
$ false   # exit 1
```

```console
$ export WHERE=$PWD/notes
$ cat $WHERE/one.txt
caught
```

<!-- figures differ -->

```console
$ echo "7 of 11 in 2.5 ms"
3 of 4 in 17.25 ms
```

```python
two = 1 + 1
```

<!--- skip: next "not here" -->

```python
two = 3
```

```python
assert two == 2
```
"""


def read(tmp_path: Path, text: str) -> int:
    path = tmp_path / "document.md"
    path.write_text(text, "utf-8")
    return documents.run(path, tmp_path)


def test_a_sound_document_passes(tmp_path: Path) -> None:
    assert read(tmp_path, DOCUMENT) > 4


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("caught\n$", "missed\n$"),
        ("b ...\nc", "b ...\nd"),
        ("make test", "make coffee"),
        ("# exit 1", "# exit 3"),
        ("assert two == 2", "assert two == 3"),
        ("cat notes/one.txt", "cat notes/two.txt"),
        ("3 of 4 in 17.25 ms", "3 of 4 in 17.25 s"),
        ("<!-- figures differ -->", ""),
        ("export WHERE=$PWD/notes", "export WHERE=$PWD/nothing"),
    ],
)
def test_a_document_that_says_something_untrue_fails(tmp_path: Path, old: str, new: str) -> None:
    assert DOCUMENT.count(old) == 1
    with pytest.raises(AssertionError):
        read(tmp_path, DOCUMENT.replace(old, new))


def test_what_a_document_starts_is_ended(tmp_path: Path) -> None:
    read(tmp_path, "```console\n$ setsid sleep 600 & echo $! > pid\n```\n")
    pid = int((tmp_path / "here" / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]
