"""From a self-test to what is said of each executor class: what was shown of it, and what that makes of it.

Pure but for one look at whether a declared command is there. Nothing is better here than it was shown: what is not
ours to test is `untested`, and says why. What follows from it is `node.tested`'s.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from failwell.core import kinds
from failwell.node.settings import ToolSettings
from failwell.ports.executor import SelfTest

OK, DEGRADED, FAILED, UNTESTED = "ok", "degraded", "failed", "untested"
CLASSES = ("supervised", "transactional", "fenced", "unstoppable", "cooperative")
SWEEP, NAMESPACE, CGROUP, ROLLBACK, COMMANDS = "sweep", "pid namespace", "cgroup", "rollback", "commands there"
MAX_DETAIL = 500
CONFIRMED = "confirmed"


def shown(
    test: SelfTest | str, tools: Mapping[str, ToolSettings], place: Path, used: frozenset[str] = frozenset()
) -> tuple[kinds.ExecutorTested, ...]:  # fmt: skip
    """What is to be recorded of every class. `test`: its result, or why it has none; `tools`: those declared.

    `used`: mechanisms that were shown before and are in use; one that is not shown any more is given up.
    """
    return (
        _supervised(test, used),
        _transactional(test, sum(each.transaction is not None for each in tools.values())),
        _fenced(missing_commands(tools, "fence", place), [name for name, each in tools.items() if each.fence]),
        _unstoppable(missing_commands(tools, "confirm", place), [name for name, each in tools.items() if each.confirm]),
        _body("cooperative", UNTESTED, "its caller runs it, so nothing of it is ours to test: it is asked to stop, and"
              " that it did is shown by its process or not at all"),
    )  # fmt: skip


def missing_commands(tools: Mapping[str, ToolSettings], kind: str, place: Path) -> dict[str, str]:
    """The tools whose `fence` or `confirm` command cannot be executed here, and why."""
    found = {}
    for name, each in sorted(tools.items()):
        command: tuple[str, ...] | None = getattr(each, kind)
        if command is not None and not _executable(command[0], Path(each.cwd or place)):
            found[name] = f"{kind} command {command[0]} cannot be executed here"
    return found


def _executable(name: str, place: Path) -> bool:
    if "/" in name:
        path = place / name
        return path.is_file() and os.access(path, os.X_OK)
    return shutil.which(name) is not None


# ---- class by class ------------------------------------------------------------------------------------------


def _supervised(test: SelfTest | str, used: frozenset[str]) -> kinds.ExecutorTested:
    if isinstance(test, str):
        return _body("supervised", FAILED, test)
    if not test.passed:
        detail = f"a resisting tool, by order: {test.interrupt}; when the node dies: {test.node_killed}"
        return _body("supervised", FAILED, detail, test)
    why_not = {NAMESPACE: test.pid_namespace_why, CGROUP: test.cgroup_why}
    here = [name for name, why in why_not.items() if why is None]
    lost = sorted(used & why_not.keys() - set(here))
    said = ["a resisting tool was stopped by order and when its node was killed"]
    said += [f"{'given up' if name in lost else 'no'} {name}: {why}" for name, why in why_not.items() if why]
    # Swept alone, a tool that is root can hide from us: in another's process tree.
    state = DEGRADED if lost or not here else OK
    return _body("supervised", state, "; ".join(said), test, (SWEEP, *here))


def _transactional(test: SelfTest | str, declared: int) -> kinds.ExecutorTested:
    if isinstance(test, str) or not test.passed:
        return _body("transactional", FAILED, "what runs under a supervisor could not be shown to stop")
    none = "" if declared else "; no tool is declared so"
    if test.rollback == CONFIRMED:
        detail = f"a transaction that was killed half-way left neither its work nor its mark{none}"
        return _body("transactional", OK, detail, mechanisms=(ROLLBACK,))
    if test.rollback == "not tested":
        return _body("transactional", UNTESTED, f"its rollback was not tested{none}")
    return _body("transactional", FAILED, f"{test.rollback}{none}")


def _fenced(missing: Mapping[str, str], declared: list[str]) -> kinds.ExecutorTested:
    """Whether a resource really refuses is known only at a stop; that it can be told at all is looked at."""
    if not declared:
        return _body("fenced", UNTESTED, "no tool is declared so")
    if not missing:
        detail = f"the fence commands of {_named(declared)} are there; whether their resources obey shows at a stop"
        return _body("fenced", OK, detail, mechanisms=(COMMANDS,))
    state = FAILED if len(missing) == len(declared) else DEGRADED
    return _body("fenced", state, "; ".join(f"{tool}: {why}" for tool, why in missing.items()))


def _unstoppable(missing: Mapping[str, str], declared: list[str]) -> kinds.ExecutorTested:
    """It promises no stop, so nothing is shut: without its command its end is never confirmed."""
    if not declared:
        return _body("unstoppable", UNTESTED, "what goes on elsewhere is not ours to stop; no tool can be asked of it")
    if not missing:
        return _body("unstoppable", OK, f"the confirm commands of {_named(declared)} are there",
                     mechanisms=(COMMANDS,))  # fmt: skip
    return _body("unstoppable", DEGRADED, "; ".join(f"{tool}: {why}" for tool, why in missing.items()))


def _named(tools: list[str]) -> str:
    return ", ".join(sorted(tools)[:10])


def _body(
    executor: str, state: str, detail: str, test: SelfTest | None = None, mechanisms: tuple[str, ...] = ()
) -> kinds.ExecutorTested:  # fmt: skip
    figures = {} if test is None else {
        "order_us": test.interrupt_us, "node_killed_us": test.node_killed_us,
        "processes": test.interrupt_processes + test.node_killed_processes, "cpu_us": test.cpu_us,
    }  # fmt: skip
    return kinds.ExecutorTested(
        executor=executor, state=state, mechanisms=mechanisms, elapsed_us=0 if test is None else test.elapsed_us,
        figures=figures, detail=detail[:MAX_DETAIL],
    )  # fmt: skip
