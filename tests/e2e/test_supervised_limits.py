"""What a tool may take of the machine: held, said where it was reached, and no start without it."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator

import pytest

from tests.unit.execute.stage import EXTREMES, Node, Stage, stage_fixture

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    yield from stage_fixture()


@pytest.fixture(scope="module", params=EXTREMES)
def node(request: pytest.FixtureRequest, stage: Stage) -> Node:
    return stage.node(request.param)


@pytest.fixture(scope="module")
def plain(stage: Stage) -> Node:
    return stage.node("sweep")


@pytest.mark.requirement("R6.21")
def test_each_limit_holds_for_the_tool_and_no_memory_of_it_is_ever_dumped(node: Node) -> None:
    code = "import resource as r; print([r.getrlimit(n) for n in (r.RLIMIT_CPU, r.RLIMIT_AS, r.RLIMIT_FSIZE,"
    code += " r.RLIMIT_NOFILE, r.RLIMIT_CORE)])"
    limits = {"cpu": 9, "as": 500 * MIB, "fsize": 77, "nofile": 33}
    ended = node.launch(node.interpreter, "-I", "-S", "-c", code, limits=limits).wait()
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    core = "(0, 0)" if most == 0 else "(1, 1)"
    assert ended["output"].decode() == f"[(9, 10), ({500 * MIB}, {500 * MIB}), (77, 77), (33, 33), {core}]\n"


def test_without_limits_only_the_dump_is_limited(plain: Node) -> None:
    code = "import resource as r; print([r.getrlimit(n) for n in (r.RLIMIT_CPU, r.RLIMIT_AS, r.RLIMIT_FSIZE)])"
    ended = plain.launch(plain.interpreter, "-I", "-S", "-c", code).wait()
    ours = [resource.getrlimit(n) for n in (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_FSIZE)]
    assert ended["output"].decode() == f"{ours}\n"


def test_a_tool_that_uses_up_its_cpu_time_ends_and_says_why(stage: Stage) -> None:
    node = stage.node("both")
    ended = node.launch(node.interpreter, "-I", "-S", "-c", "while True: pass", limits={"cpu": 1}).wait()
    assert (ended["state"], ended["signal"]) == ("failed", signal.SIGXCPU)
    assert ended["why"] == "signal 24: it reached its limit of 1 seconds of CPU time"
    assert ended["snapshot"] is None, "it ended by itself, and nothing of it was left"


def test_a_tool_that_writes_too_large_a_file_ends_and_says_why(plain: Node) -> None:
    path = plain.directory / "large"
    ended = plain.launch("sh", "-c", f"exec head -c 100000 /dev/zero > {path}", limits={"fsize": 4096}).wait()
    assert (ended["state"], ended["signal"]) == ("failed", signal.SIGXFSZ)
    assert ended["why"] == "signal 25: it reached its limit of 4096 bytes in a file"
    assert path.stat().st_size == 4096


def test_a_tool_that_takes_too_much_memory_fails(plain: Node) -> None:
    code = "held = bytearray(1 << 30)"
    ended = plain.launch(plain.interpreter, "-I", "-S", "-c", code, limits={"as": 300 * MIB}).wait()
    assert (ended["state"], ended["exit_code"]) == ("failed", 1)
    assert b"MemoryError" in ended["errors"]


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"nofile": 2**40}, f"cannot limit the tool to {2**40} open files: "),
        ({"disk": 1}, "there is no limit 'disk': as, cpu, fsize, nofile"),
        ({"cpu": -1}, "the limit cpu is -1, and not a number from 0"),
    ],
)
def test_a_tool_that_cannot_be_limited_is_not_started(node: Node, limits: dict[str, int], why: str) -> None:
    mark = node.directory / f"mark-{len(node.ended)}"
    ended = node.launch("touch", str(mark), limits=limits).wait()
    assert ended["state"] == "blocked"
    assert ended["why"].startswith(why)
    assert not mark.exists()
