"""What a person gets wrong: a message that says what and what to do, the right exit code, never a traceback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.shell import CONTRACT, PASSPHRASE, Shell, open_shell

BROKEN = """\
contract: refund-bot
version: 1
agent: spiffe://shop.example/agent/refund-bot
owner: anna
purpose: "Send \\u001b[31m[bold]notices[/]"
tools:
  - tool: notices.send
    effect: "irreversibly \\u001b]0;owned\\u0007[bold]"
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    root = tmp_path_factory.mktemp("cli")
    (root / "broken.yaml").write_text(BROKEN)
    (root / "sound.yaml").write_text(CONTRACT.format(name="refund-bot"))
    (root / "floor.yaml").write_text("floor: f\nversion: 1\nscope: organisation\npurpose: Bounds.\nstoppable: true\n")
    (root / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (root / "wrong").write_text("not the passphrase\n")
    (root / "wrong").chmod(0o600)
    (root / "open").write_text(PASSPHRASE)
    (root / "open").chmod(0o644)
    with open_shell(root) as opened:
        opened("init", str(opened.workspace), "--person", "anna", "--email", "anna@shop.example")
        yield opened


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("frobnicate",), 2, "No such command"),
        (("incident", "shwo", "1"), 2, "Did you mean 'show'"),
        (("incident", "show", "one"), 2, "valid int"),
        (("incident", "show"), 2, "Missing argument"),
        (("agent", "suspend", "refund-bot"), 2, "--reason"),
        (("init", "ws", "--person", "anna"), 2, "is a workspace already"),
        (("init", "new", "--person", "Änna"), 2, "U+00C4"),
        (("person", "add", "bert", "--key", "AAAA"), 2, "--key and --proof belong together"),
        (("person", "add", "bert"), 2, "nobody is there to agree"),
        (("agent", "register", "spiffe://shop.example/agent/x", "--as", "anna"), 2, "--owner"),
        (
            ("agent", "register", "spiffe://shop.example/agent/x", "--owner", "bert", "--as", "anna", "--yes"),
            1,
            "not enrolled",
        ),
        (("agent", "show", "nobody"), 2, "failwell agent list"),
        (("contract", "lint", "nowhere.yaml"), 2, "there is no file"),
        (("contract", "lint", "."), 2, "cannot be read"),
        (("contract", "lint", "binary.yaml"), 2, "not UTF-8"),
        (("contract", "sign", "broken.yaml"), 1, "not adopted"),
        (("contract", "adopt", "sound.yaml"), 2, "failwell contract sign sound.yaml --as anna"),
        (("contract", "sign", "sound.yaml", "--as", "zoe"), 2, "zoe has no key"),
        (("contract", "adopt", "floor.yaml"), 2, "failwell contract sign floor.yaml --as PERSON"),
        (("person", "verify", "anna", "--code", "k7m2p9qx", "--vouch"), 2, "take one"),
        (("person", "verify", "anna", "--vouch", "--as", "anna", "--yes"), 1, "another person vouches"),
        (("run", "--agent", "refund-bot", "--tool", "t", "--", "no-such-command"), 2, "no command 'no-such-command'"),
        (("run", "--agent", "refund-bot", "--tool", "t", "--", "true"), 2, "no key of the agent refund-bot is here"),
        (("incident", "show", "7"), 2, "failwell incident list"),
        (("ledger", "verify", "--checkpoint", "nowhere"), 2, "cannot be read"),
        (("ledger", "verify", "--checkpoint", "sound.yaml"), 2, "sound.yaml"),
        (("ledger", "verify", "--key", "nowhere"), 2, "cannot be read"),
        (("ledger", "tail", "--count", "0"), 2, "--count"),
        (("agent", "release", "propose", "x", "--conditions", "c", "--evidence", "some"), 2, "--evidence 1198,1204"),
        (("serve", "--workspace", "nowhere"), 2, "failwell init nowhere"),
    ],
)
def test_a_mistake_is_told_with_what_to_do(shell: Shell, args: tuple[str, ...], code: int, said: str) -> None:
    done = shell(*args, code=code)
    assert said in done.err
    assert done.out == ""


def test_a_mistake_is_told_to_programs_as_one_object(shell: Shell) -> None:
    assert shell.json("frobnicate", code=2)["error"]["code"] == "usage"
    assert shell.json("incident", "show", "7", code=2)["error"]["code"] == "not-found"
    assert shell.json("contract", "sign", "broken.yaml", code=1)["error"]["code"] == "contract"
    assert shell.json("person", "list", "--workspace", "nowhere", code=2)["error"]["hint"] == "failwell init nowhere"


def test_a_passphrase_is_asked_for_nowhere_else_than_at_a_terminal_or_in_a_private_file(shell: Shell) -> None:
    sign = ("person", "add", "bert", "--as", "anna", "--key", "k", "--proof", "p", "--yes")
    wrong = shell.json(*sign, code=2, FAILWELL_PASSPHRASE_FILE=str(shell.root / "wrong"))
    assert wrong["error"]["code"] == "passphrase"
    readable = shell.json(*sign, code=2, FAILWELL_PASSPHRASE_FILE=str(shell.root / "open"))
    assert readable["error"]["hint"].startswith("chmod 600")
    assert "no terminal" in shell(*sign, code=2, FAILWELL_PASSPHRASE_FILE=None).err


def test_what_is_wrong_with_a_contract_is_told_by_place_reason_and_mend(shell: Shell) -> None:
    done = shell("contract", "lint", "broken.yaml", code=1)
    assert done.first == "broken.yaml must not be adopted: 1 error, 0 warnings."
    assert "broken.yaml:8   effect:" in done.out
    told = shell.json("contract", "lint", "broken.yaml", code=1)
    assert [(finding["level"], finding["line"]) for finding in told["findings"]] == [("error", 8)]
    assert shell.json("contract", "lint", "sound.yaml")["sound"]


def test_a_second_person_is_enrolled_with_what_they_brought_from_elsewhere(shell: Shell) -> None:
    origin = shell.json("person", "list")["origin"]
    brought = shell.json(
        "person", "key", "bert", "--origin", origin,
        FAILWELL_CONFIG=str(shell.root / "elsewhere"), FAILWELL_WORKSPACE=None,
    )  # fmt: skip
    given = (
        "--key",
        brought["key"],
        "--proof",
        brought["proof"],
        "--email",
        "bert@shop.example",
        "--as",
        "anna",
        "--yes",
    )
    stolen = shell.json("person", "add", "mallory", *given, code=1)
    assert "not brought by whoever holds it" in stolen["error"]["message"]
    assert shell.json("person", "add", "bert", "--role", "approver", *given)["roles"] == ["approver"]
    assert [each["key_is_here"] for each in shell.json("person", "list")["persons"]] == [True, False]
    assert shell.json("doctor", code=1)["checks"][1]["part"] == "kill"


def test_a_ledger_that_cannot_be_read_is_a_finding_not_a_crash(shell: Shell) -> None:
    shell("serve", "--stop")
    ruined = shell.root / "ruined"
    ruined.mkdir()
    (ruined / "ledger.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    (ruined / "keys").mkdir(mode=0o700)
    (ruined / "keys" / "log.pub").write_text((shell.workspace / "keys" / "log.pub").read_text())
    assert "DOES NOT VERIFY" in shell("ledger", "verify", code=1, at=ruined).first
    (ruined / "ledger.db").unlink()
    assert "DOES NOT VERIFY" in shell("ledger", "verify", code=1, at=ruined).first
