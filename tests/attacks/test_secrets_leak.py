"""The adversary wants a secret that a tool holds: as the agent, as its tool's target, as a reader of whatever is left.

A value that stands nowhere else is kept by the node and looked for afterwards: in every file of the workspace, its
guard, its runtime directory and what nodes print, in blobs that are decrypted, in mails, in answers and errors, and in
the environment of every process. Real nodes, real processes.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from failwell.core.errors import FailwellError, Unhealthy
from failwell.ledger.vault import Vault
from failwell.ports.storage import StoredBlob
from tests.simulate.fixtures import model
from tests.simulate.house import Caller, House, apply, await_true, scene

TELLING = Path(__file__).resolve().parents[1] / "simulate" / "telling.py"
SECRET = "cAn4ry/sh0p+k3y=\"q\\7'%"
RAW = SECRET.encode()

#: How it would look wherever it got to; base64 by its middle, wherever it begins in it.
TRACES = (
    RAW, json.dumps(SECRET)[1:-1].encode(), RAW.hex().encode(),
    *(base64.b64encode(b"xx"[:before] + RAW)[4:24] for before in range(3)),
    *(base64.b64encode(base64.b64encode(b"xx"[:before] + RAW))[8:24] for before in range(3)),
    b"cAn4ry%2Fsh0p", b"cAn4ry/sh0p",
)  # fmt: skip


def traces(data: bytes) -> list[bytes]:
    return [trace for trace in TRACES if trace in data]


def settings(house: House, **secret: Any) -> str:
    place = house.root
    lines = ["[node]", "idle_s = 0", "[secrets.shop]"]
    lines += [f"{name} = {json.dumps(value)}" for name, value in (secret or {"file": str(place / "shop.key")}).items()]
    lines += [
        '[tools."note.write"]', f"command = {json.dumps([sys.executable, '-I', '-S', str(place / 'telling.py')])}",
        'secrets = {SHOP_KEY = "shop"}', 'env = {SHOP_URL = "https://shop.example"}', "output_cap_bytes = 1048576",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def keep(house: House, value: str = SECRET, mode: int = 0o600) -> Path:
    file = house.root / "shop.key"
    file.unlink(missing_ok=True)
    file.write_text(value + "\n")
    file.chmod(mode)
    return file


def furnish(root: Path) -> House:
    house = model().copy(root)
    shutil.copy(TELLING, house.root / "telling.py")
    (house.root / "telling.py").chmod(0o644)
    keep(house)
    evil = house.root / "evil"
    evil.mkdir()
    (evil / "helper").write_text("#!/bin/sh\necho stolen\n")
    (evil / "helper").chmod(0o755)
    house.node(env={"PATH": f"{evil}:{os.environ['PATH']}", "HOME": str(evil)})
    apply(house, settings(house))
    return house


@pytest.fixture(scope="module")
def stage() -> Iterator[Path]:
    with scene() as root:
        yield root


@pytest.fixture(scope="module")
def house(stage: Path) -> Iterator[House]:
    made = furnish(stage / "h")
    try:
        yield made
    finally:
        made.tear_down()


@pytest.fixture
def agent(house: House) -> Iterator[Caller]:
    keep(house)
    yield house.agent()
    house.hang_up()


def tell(agent: Caller, how: str, **more: Any) -> tuple[dict[str, Any], bytes]:
    """The answer to an action that has the tool tell its secret, and the output in it."""
    answer = agent.act({"customer": "c-1", "millis": 0, "text": how}, **more)
    assert traces(json.dumps(answer).encode()) == []
    output = base64.b64decode(answer["result"]["output"])
    assert traces(output) == []
    return answer, output


# ---- where it must not be ----------------------------------------------------------------------------------------


def find_everywhere(house: House) -> list[str]:
    """Places that hold the secret, other than the file that it is kept in."""
    found = []
    for path in sorted(house.root.parent.rglob("*")):
        if path.is_file() and path.name not in ("shop.key", "telling.py") and traces(path.read_bytes()):
            found.append(str(path))
    found += [f"blob of entry {seq}" for seq, text in blobs(house) if traces(text)]
    return found + holders(house)


def blobs(house: House) -> list[tuple[int, bytes]]:
    """What lies encrypted in the record, in clear."""
    from failwell.node.reading import LedgerRows

    keys = house.workspace.open_keys()
    vault = Vault(keys.blobs, keys.tokens, house.workspace.origin(), os.urandom)
    with LedgerRows(house.workspace) as rows:
        stored = [StoredBlob(*row) for row in rows._all("SELECT seq, ciphertext, wrapped FROM blob")]
    assert stored
    return [(blob.seq, json.dumps(vault.open(blob)).encode()) for blob in stored]


def holders(house: House) -> list[str]:
    """Processes that have it in their environment or on their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        for part in ("environ", "cmdline"):
            try:
                if traces((process / part).read_bytes()):
                    found.append(f"{part} of process {process.name}")
            except OSError:
                continue  # it ended
    return found


# ---- the tool tells it ---------------------------------------------------------------------------------------


def test_what_a_tool_tells_of_its_secret_comes_back_without_it(house: House, agent: Caller) -> None:
    answer, output = tell(agent, "spelled")
    assert answer["result"]["state"] == "completed"
    assert output.count(b"[secret shop]") == 12
    _, pieces = tell(agent, "pieces")
    assert pieces == b"[secret shop]"
    assert find_everywhere(house) == []


def test_a_tool_that_fails_over_its_secret_does_not_name_it_in_its_last_words(house: House, agent: Caller) -> None:
    answer, _ = tell(agent, "fails")
    assert answer["result"]["why"] == "exit code 1: cannot log in with [secret shop]"
    answer, output = tell(agent, "dies")
    assert answer["result"]["state"] == "failed"
    assert b"cAn4" not in output
    assert "cAn4" not in str(answer["result"]["why"])
    assert find_everywhere(house) == []


def test_output_that_is_cut_off_holds_no_part_of_it(house: House, agent: Caller) -> None:
    """Attack: the cap falls into the secret, and what is before it comes back."""
    for cap in (110, 112, 230, 600):
        apply(house, settings(house).replace("1048576", str(cap)))
        _, output = tell(agent, "cut")
        assert b"cA" not in output
    apply(house, settings(house))
    assert find_everywhere(house) == []


def test_only_the_tools_own_processes_hold_it_and_only_while_they_run(house: House) -> None:
    """Attack: look at who is around while it runs; then stop the agent, and look at what is left of that."""
    agent = house.agent("other-bot")
    answer = agent.ask({"customer": "c-1", "millis": 0, "text": "family"})
    await_true(lambda: len(house.alive()) >= 3)
    tools = {f"environ of process {pid}" for pid in house.alive()} | {
        f"cmdline of process {pid}" for pid in house.alive()
    }
    await_true(lambda: "cmdline" in str(holders(house)))
    assert set(holders(house)) <= tools
    node = house.nodes[-1].pid
    assert not [each for each in holders(house) if each.endswith(f" {node}")]
    house.suspend("other-bot")
    result = answer.result(30)["result"]
    assert result["state"] == "interrupted_confirmed"
    assert b"cAn4" not in base64.b64decode(result["output"])
    assert traces(json.dumps(result).encode()) == []
    assert house.alive() == []
    await_true(lambda: house.entries("state.preserved", "other-bot"))
    kept = dict(blobs(house))[house.entries("state.preserved", "other-bot")[0]["seq"]]
    assert b"[secret shop]" in kept, "its child had it on the command line"
    assert find_everywhere(house) == []
    house.hang_up()


# ---- whom it is given to -------------------------------------------------------------------------------------


@pytest.mark.requirement("R3.8")
def test_a_target_of_the_agents_own_does_not_get_it(house: House, agent: Caller) -> None:
    """Attack: the agent names its own program for a tool that holds a secret."""
    mine = {"command": ["/bin/sh", "-c", "env; echo mine"], "env": {"SHOP_URL": "https://evil.example"}}
    _, output = tell(agent, "environment", target=mine)
    found = json.loads(output.rpartition(b" ")[0])
    assert b"mine" not in output
    assert found["SHOP_URL"] == "https://shop.example"
    answer = agent.ask({"customer": "c-1"}, tool="note.send", target=mine).result(20)
    assert b"SHOP_KEY" not in base64.b64decode(answer["result"]["output"]), "another tool's processes hold nothing"


def test_who_runs_an_allowed_action_by_itself_does_not_get_it(house: House, agent: Caller) -> None:
    apply(house, settings(house).replace('tools."note.write"', 'tools."desk.ask"'))
    answer = agent.ask({"customer": "c-1"}, tool="desk.ask", how="begin", target=None).result(20)
    assert traces(json.dumps(answer).encode()) == []
    agent.wire.call("settle", agent=agent.agent, action=answer["verdict"]["entry"], state="completed")
    apply(house, settings(house))


def test_a_decorated_function_under_the_tools_name_does_not_get_it(house: House, agent: Caller) -> None:
    """Attack: the client sends the function's module and its own PYTHONPATH; what is declared runs all the same."""
    function = {
        "command": [sys.executable, "-m", "failwell.execute.function", "evil:steal"],
        "env": {"PYTHONPATH": "/tmp/evil", "LD_PRELOAD": "/tmp/evil.so"}, "cwd": "/tmp",
    }  # fmt: skip
    _, output = tell(agent, "environment", target=function)
    found = json.loads(output.rpartition(b" ")[0])
    assert not {"PYTHONPATH", "LD_PRELOAD"} & set(found)


def test_a_node_that_the_agent_started_finds_programs_where_the_system_has_them(house: House, agent: Caller) -> None:
    """Attack: the agent starts the node, with a PATH and a HOME in which its own programs and files lie."""
    environment = (Path("/proc") / str(house.nodes[-1].pid) / "environ").read_bytes()
    assert str(house.root / "evil").encode() in environment
    _, output = tell(agent, "which")
    assert output.strip() == b""
    _, output = tell(agent, "environment")
    assert b"evil" not in output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.requirement("R3.13")
def test_a_program_that_another_user_can_change_gets_no_secret(house: House, agent: Caller) -> None:
    """Attack: put another program where the tool's is, or into a directory above it."""
    program = house.root / "telling.py"
    changes: tuple[Callable[[], None], ...] = (
        lambda: program.chmod(0o666), lambda: os.chown(program, 65534, 65534), lambda: house.root.chmod(0o777),
    )  # fmt: skip
    for change in changes:
        change()
        with pytest.raises(Unhealthy, match="gets no secret"):
            agent.act({"customer": "c-1", "millis": 0})
        program.chmod(0o644)
        os.chown(program, 0, 0)
        house.root.chmod(0o755)
    tell(agent, "environment")


# ---- how it is kept ------------------------------------------------------------------------------------------


def used(house: House) -> int:
    actions = [entry for entry in house.entries("outcome") if entry["body"]["state"] == "blocked"]
    return len(actions)


def refused(house: House, agent: Caller) -> Unhealthy:
    """The error of a call that must not start, which is recorded as blocked and tells no value."""
    before = used(house)
    with pytest.raises(Unhealthy) as caught:
        agent.act({"customer": "c-1", "millis": 0, "text": "environment"})
    assert used(house) == before + 1, "blocked: what it had reserved is given back"
    assert traces(f"{caught.value.message} {caught.value.hint}".encode()) == []
    return caught.value


@pytest.mark.requirement("R3.9")
def test_a_secret_that_is_not_kept_well_starts_nothing(house: House, agent: Caller) -> None:
    file = keep(house, mode=0o644)
    error = refused(house, agent)
    assert "others may be able to use it" in error.message
    assert error.hint == f"chmod 600 {file}"
    file.unlink()
    assert "there is no secret file" in refused(house, agent).message
    file.symlink_to(house.workspace.keys / "blobs.key")
    assert "is a link" in refused(house, agent).message
    for value in ("abc", "1234567", "--------", "", "x" * 9000, "abcd" * 9, "nul\0in-here"):
        keep(house, value)
        refused(house, agent)
    keep(house, "a-new-one-of-its-time")
    answer = agent.act({"customer": "c-1", "millis": 0})
    assert base64.b64decode(answer["result"]["output"]) == b"[secret shop]\n", "read anew for each start"
    keep(house)
    if os.geteuid() == 0:
        os.chown(file, 65534, 65534)
        assert "belongs to user 65534" in refused(house, agent).message
    file.unlink()


def test_a_secret_can_come_from_a_command_which_gets_its_time_and_no_more(house: House, agent: Caller) -> None:
    """Attack: a command that hangs with children, that fails while it tells, or that another user may change."""
    script = house.root / "ask-vault"

    def ask(text: str, **more: Any) -> None:
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o700)
        apply(house, settings(house, command=[str(script), "shop"], **more))

    quoted = "'" + SECRET.replace("'", "'\\''") + "'"
    ask(f"printf '%s\\n\\n' {quoted}; echo $PATH >&2")
    _, output = tell(agent, "spelled")
    assert output.count(b"[secret shop]") == 12
    ask(f"printf '%s' {quoted}; exit 3")
    assert refused(house, agent).message == "the secret shop is not to be had: its command: exit code 3"
    ask(f"printf '%s' {quoted}; sleep 60 & sleep 60", deadline_ms=300)
    began = time.monotonic()
    assert "its command: " in refused(house, agent).message
    assert time.monotonic() - began < 15
    await_true(lambda: not house.alive())
    ask(f"printf '%s' {quoted}; exit 0")
    script.chmod(0o777)
    assert "gets no secret" in refused(house, agent).message
    script.unlink()
    assert "cannot be run" in refused(house, agent).message
    apply(house, settings(house))
    assert find_everywhere(house) == []


@pytest.mark.requirement("R3.12")
def test_a_variable_counts_only_where_no_agent_can_have_started_the_node(house: House, agent: Caller) -> None:
    """Attack: the agent's process starts the node on demand; what it hands it, it has itself."""
    apply(house, settings(house, env="SHOP_KEY_OF_THE_NODE"))
    error = refused(house, agent)
    assert "started on demand" in error.message
    assert "failwell serve" in str(error.hint)
    apply(house, settings(house))


def test_a_stop_while_its_secret_is_being_read_starts_nothing(house: House, stage: Path) -> None:
    """Attack: be allowed, have the secret's command take its time, and be suspended meanwhile."""
    script = house.root / "slow-vault"
    script.write_text(f"#!/bin/sh\ntouch {house.root}/asked\nsleep 1\nprintf 'a-secret-of-its-own'\n")
    script.chmod(0o700)
    apply(house, settings(house, command=[str(script)]))
    agent = house.agent("bot-00")
    answers: list[Any] = []

    def act() -> None:
        try:
            answers.append(agent.act({"customer": "c-1", "millis": 0}))
        except FailwellError as error:
            answers.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    await_true((house.root / "asked").exists)
    house.suspend("bot-00")
    thread.join(20)
    state = answers[0]["result"]["state"] if isinstance(answers[0], dict) else answers[0].code
    assert state in ("blocked", "fenced")
    assert "started" not in {entry["kind"] for entry in house.entries(agent="bot-00")}
    apply(house, settings(house))
    house.hang_up()


def test_a_node_that_is_killed_leaves_nothing_of_it(house: House) -> None:
    """Attack: the node dies while a tool that told its secret runs; its supervisor reports, and the next node reads."""
    keep(house)
    answer = house.agent().ask({"customer": "c-1", "millis": 0, "text": "sleeps"})
    await_true(lambda: len(house.alive()) >= 3)
    house.nodes[-1].kill()
    house.hang_up()
    with pytest.raises(FailwellError):
        answer.result(20)
    await_true(lambda: not house.alive())
    assert find_everywhere(house) == []
    house.end(house.node())
    assert find_everywhere(house) == []
    house.verify()
