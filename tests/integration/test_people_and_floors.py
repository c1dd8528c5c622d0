"""Over the command line: an owner is reached by a mailed code, a floor binds, the owner leaves, another takes over."""

from __future__ import annotations

import email
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.shell import AGENT, CONTRACT, TOOL, Shell, open_shell, send, wait_until
from tests.integration.test_cli_story import FreePort, Sink
from tests.simulate.sink import plain

SETTINGS = """\
[mail]
host = "127.0.0.1"
port = {port}
sender = "failwell@shop.example"
security = "none"
"""

FLOOR = """\
floor: company
version: 1
scope: group:shop
purpose: Nobody keeps a customer waiting.
clauses:
  - {id: short, deny: "notices.*", when: context.args.seconds > 50}
"""


@pytest.fixture
def mailed(tmp_path: Path) -> Iterator[tuple[Shell, list[bytes]]]:
    kept = Sink()
    controller = FreePort(kept, hostname="127.0.0.1", port=0)
    controller.start()
    try:
        with open_shell(tmp_path) as shell:
            shell.workspace.mkdir(mode=0o700)
            (shell.workspace / "failwell.toml").write_text(SETTINGS.format(port=controller.port))
            (shell.root / "tool.py").write_text(TOOL)
            shell("init", str(shell.workspace), "--person", "anna", "--email", "anna@shop.example")
            for person, role in (("bert", "approver"), ("cleo", "operator")):
                mail = f"{person}@shop.example"
                shell("person", "add", person, "--email", mail, "--role", role, "--as", "anna", "--yes")
            yield shell, kept.mails
    finally:
        controller.stop()


def text_of(mail: bytes) -> str:
    return plain(email.message_from_bytes(mail))


@pytest.mark.timeout(120)
def test_an_owner_is_reached_bound_by_a_floor_leaves_and_is_followed(mailed: tuple[Shell, list[bytes]]) -> None:
    shell, mails = mailed
    refused = shell("agent", "register", AGENT.format(name="refund-bot"), "--owner", "anna", "--as", "anna", "--yes",
                    code=1)  # fmt: skip
    assert "verified contact" in refused.err
    _reach(shell, mails)
    _bind(shell)
    _leave(shell, mails)
    assert shell("ledger", "verify").code == 0


def _reach(shell: Shell, mails: list[bytes]) -> None:
    """A code comes by mail and goes back; it stands nowhere in the record."""
    shell("person", "verify", "anna", "--as", "anna", "--yes")
    wait_until(lambda: len(mails) == 1)
    found = re.search(r"The code is ([a-z0-9]{8})\.", text_of(mails[0]))
    assert found is not None
    code = found.group(1)
    wrong = shell("person", "verify", "anna", "--code", "wrong234", "--as", "anna", "--yes", code=1)
    assert "4 more tries" in wrong.err
    assert shell.json("person", "verify", "anna", "--code", code, "--as", "anna", "--yes")["how"] == "code"
    shell("person", "verify", "cleo", "--vouch", "--as", "bert", "--yes")
    listed = {row["person"]: row for row in shell.json("person", "list")["persons"]}
    assert [listed[name]["contact"] for name in ("anna", "bert", "cleo")] == ["verified", "unverified", "vouched"]
    record = b"".join(path.read_bytes() for path in shell.workspace.rglob("*") if path.is_file())
    assert code.encode() not in record


def _bind(shell: Shell) -> None:
    """A floor of its group denies what the agent's contract allows, once two persons put it in force."""
    agent = AGENT.format(name="refund-bot")
    shell("agent", "register", agent, "--owner", "anna", "--group", "shop", "--as", "anna", "--yes")
    (shell.root / "refund-bot.yaml").write_text(CONTRACT.format(name="refund-bot"))
    (shell.root / "floor.yaml").write_text(FLOOR)
    for file in ("refund-bot.yaml", "floor.yaml"):
        shell("contract", "sign", file, "--as", "anna", "--yes")
        shell("contract", "adopt", file, "--as", "bert", "--yes")
    denied = shell(*send("refund-bot", "c-2", seconds=60), code=1)
    assert "company/short" in denied.out + denied.err
    assert shell.json("floor", "list")["floors"][0]["agents"] == ["refund-bot"]


def _leave(shell: Shell, mails: list[bytes]) -> None:
    """Anna leaves: restricted, told, orders nothing; back under cleo's contract."""
    left = ("person", "leave", "anna", "--successor", "cleo", "--reason", "Left the company", "--as", "cleo", "--yes")
    assert shell.json(*left)["agents"] == [{"agent": "refund-bot", "authority": "RESTRICTED"}]
    wait_until(lambda: len(mails) == 2)
    assert "refund-bot has no owner" in text_of(mails[1])
    assert b"cleo@shop.example" in mails[1]
    gone = shell("agent", "suspend", "refund-bot", "--reason", "mine", "--as", "anna", code=1)
    assert "orders nothing any more" in gone.out + gone.err
    shell("agent", "assign", "refund-bot", "--owner", "cleo", "--as", "cleo", "--yes")
    text = CONTRACT.format(name="refund-bot").replace("version: 1", "version: 2").replace("owner: anna", "owner: cleo")
    (shell.root / "refund-bot.yaml").write_text(text)
    shell("contract", "sign", "refund-bot.yaml", "--as", "cleo", "--yes")
    shell("contract", "adopt", "refund-bot.yaml", "--as", "bert", "--yes")
    assert shell.json("agent", "show", "refund-bot")["authority"] == "ACTIVE"
