"""What the settings may say of secrets, where the broker takes them from, and what it prints: never a value."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from failwell.core.errors import InputError, Unhealthy
from failwell.execute.programs import changeable
from failwell.node import settings
from failwell.node.broker import Broker, own_surroundings
from failwell.node.kept import SecretSettings
from failwell.node.settings import ToolSettings

KEPT = '[secrets.shop]\nfile = "/etc/shop.key"\n'
TOOL = '[tools."notices.send"]\ncommand = ["/bin/send"]\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[secrets.shop]\n", "one of file, env and command"),
        ('[secrets.shop]\nfile = "/a"\nenv = "B"\n', "one of file, env and command"),
        ('[secrets."a b"]\nenv = "B"\n', "is not a secret's name"),
        ('[secrets."a]\\""]\nenv = "B"\n', "is not a secret's name"),
        ('[secrets.shop]\nenv = "A=B"\n', "not the name of a variable"),
        ('[secrets.shop]\ncommand = ["vault"]\n', "absolute path of its program"),
        ("[secrets.shop]\ncommand = []\n", "length >= 1"),
        ('[secrets.shop]\nfile = "/a"\nvalue = "hunter22"\n', "unknown field"),
        (TOOL + 'secrets = {KEY = "shop"}\n', "which [secrets] does not have"),
        (KEPT + TOOL + 'secrets = {"A B" = "shop"}\n', "no variable that can hold a secret"),
        (KEPT + TOOL + 'secrets = {FAILWELL_ACTION = "shop"}\n', "no variable that can hold a secret"),
        (KEPT + TOOL + 'secrets = {KEY = "shop"}\nenv = {KEY = "in clear"}\n', "no variable that can hold a secret"),
        (KEPT + TOOL + 'secrets = {KEY = "shop"}\noutput_cap_bytes = 4194305\n', "bytes of output are kept"),
        (KEPT + TOOL.replace("/bin/send", "send") + 'secrets = {KEY = "shop"}\n', "absolute path of its program"),
        (KEPT + TOOL.replace('"/bin/send"', "") + 'secrets = {KEY = "shop"}\n', "absolute path of its program"),
    ],
)
def test_settings_that_could_give_a_secret_away_are_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says.replace("[", "\\[")):
        settings.parse_settings(text)


@pytest.mark.parametrize("where", ['file = "shop.key"', 'env = "SHOP"', 'command = ["/bin/vault", "read"]'])
def test_settings_with_secrets_come_back_from_the_record_as_they_were(where: str) -> None:
    found = settings.parse_settings(f'[secrets.shop]\n{where}\n{TOOL}secrets = {{KEY = "shop"}}\n')
    assert settings.settings_from_text(settings.settings_text(found)) == found


# ---- reading -----------------------------------------------------------------------------------------------------


def broker(tmp_path: Path, *, served: bool = True, **secrets: SecretSettings) -> Broker:
    place = SimpleNamespace(workspace=SimpleNamespace(path=tmp_path), settings=settings.Settings(secrets=secrets))
    return Broker(cast("Any", place), served=served)


def hold(made: Broker, **variables: str) -> dict[str, str]:
    tool = ToolSettings(command=("/bin/sh",), secrets=variables)
    return asyncio.run(made.hold("spiffe://shop.example/agent/bot", tool)).secrets


def test_a_tool_without_secrets_is_given_nothing_and_asks_for_nothing(tmp_path: Path) -> None:
    held = asyncio.run(broker(tmp_path).hold("bot", ToolSettings(command=("relative",))))
    assert (held.secrets, held.surroundings) == ({}, {})
    assert asyncio.run(broker(tmp_path).hold("bot", None)).secrets == {}


def test_a_file_is_read_from_the_workspace_on_and_its_last_line_feeds_are_none_of_it(tmp_path: Path) -> None:
    (tmp_path / "shop.key").touch(0o600)
    (tmp_path / "shop.key").write_text("line one\nline two\r\n\n")
    made = broker(tmp_path, shop=SecretSettings(file="shop.key"), twice=SecretSettings(file="shop.key"))
    assert hold(made, A="shop", B="shop", C="twice") == dict.fromkeys("ABC", "line one\nline two")


@pytest.mark.requirement("R3.12")
def test_a_variable_is_read_where_an_operator_started_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    kept = SecretSettings(env="SHOP_KEY")
    with pytest.raises(Unhealthy, match="has no SHOP_KEY"):
        hold(broker(tmp_path, shop=kept), A="shop")
    monkeypatch.setenv("SHOP_KEY", "hunter2-hunter2")
    assert hold(broker(tmp_path, shop=kept), A="shop") == {"A": "hunter2-hunter2"}
    with pytest.raises(Unhealthy, match="started on demand"):
        hold(broker(tmp_path, served=False, shop=kept), A="shop")


def test_no_value_is_in_what_is_printed_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_KEY", "hunter2-hunter2")
    made = broker(tmp_path, shop=SecretSettings(env="SHOP_KEY"))
    held = asyncio.run(made.hold("bot", ToolSettings(command=("/bin/sh",), secrets={"A": "shop"})))
    assert "hunter2" not in repr(held)
    assert "hunter2" not in repr(vars(made))


def test_what_is_wrong_is_said_of_each_and_commands_are_not_run_for_it(tmp_path: Path) -> None:
    (tmp_path / "open.key").write_text("hunter2-hunter2")
    (tmp_path / "open.key").chmod(0o640)
    made = broker(
        tmp_path, open=SecretSettings(file="open.key"), none=SecretSettings(file="none.key"),
        asked=SecretSettings(command=("/bin/false",)),
    )  # fmt: skip
    found = asyncio.run(made.check())
    assert set(found) == {"open", "none"}
    assert "chmod 600" in str(found["open"])
    assert "there is no secret file" in str(found["none"])
    assert "hunter2" not in str(found)


def test_surroundings_are_the_systems_and_not_the_starters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/evil")
    monkeypatch.setenv("HOME", "/evil")
    assert "/evil" not in str(own_surroundings())


# ---- programs ----------------------------------------------------------------------------------------------------


def test_a_program_is_looked_at_with_all_that_leads_to_it(tmp_path: Path) -> None:
    """Attack: a directory, a link or a script on the way is somebody else's to change."""
    place = tmp_path / "bin"
    place.mkdir(mode=0o755)
    tool, script, link = place / "tool", place / "script", tmp_path / "link"
    for file in (tool, script):
        file.touch(0o755)
    link.symlink_to("bin/tool")
    assert changeable((str(link), "-c", "x", str(script), "/no/such/file")) is None
    for changed, asked in (
        (tool, (tool,)),
        (place, (link,)),
        (script, (tool, script)),
        (tool, (place / ".." / "link",)),
    ):
        before = changed.stat().st_mode
        changed.chmod(before | 0o020)
        assert "can be written by other users" in str(changeable(str(part) for part in asked)), changed
        changed.chmod(before | 0o1002 if changed is place else before)
        assert changeable(str(part) for part in asked) is None
        changed.chmod(before)
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    for gone in (loop, tmp_path / "gone"):
        with pytest.raises(OSError):
            changeable((str(gone),))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_program_of_another_user_is_theirs_to_change(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.touch(0o755)
    os.chown(tool, 65534, 65534)
    assert "belongs to user 65534" in str(changeable((str(tool),)))
    link = tmp_path / "link"
    link.symlink_to("/bin/sh")
    assert changeable((str(link),)) is None
    os.chown(link, 65534, 65534, follow_symlinks=False)
    assert "belongs to user 65534" in str(changeable((str(link),)))
