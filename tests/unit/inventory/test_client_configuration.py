"""Configurations of MCP clients as they are written: each server is read as its client would, or told with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from failwell.core.errors import InputError
from failwell.inventory.client_configuration import ClientFile, ClientServer, read_client_file


def _read(path: Path, text: str, **inputs: str) -> ClientFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return read_client_file(path, {"KEY": "k-1", "EMPTY": ""}, inputs, Path("/home/anna"))


def _one(tmp_path: Path, server: Any, **inputs: str) -> ClientServer:
    text = msgspec.json.encode({"mcpServers": {"s": server}}).decode()
    return _read(tmp_path / "mcp.json", text, **inputs).servers[0]


def test_vs_codes_file_with_remarks_inputs_and_last_commas_is_read(tmp_path: Path) -> None:
    found = _read(
        tmp_path / "shop" / ".vscode" / "mcp.json",
        """{ // mine
        "inputs": [{"id": "token", "type": "promptString", "password": true}],
        "servers": { /* two */
          "web": {"type": "http", "url": "https://x.example/a//b", "headers": {"Auth": "Bearer ${input:token}"}},
          "db": {"command": "db", "args": ["${workspaceFolder}/a.db", "//,}"], "env": {"K": "${env:KEY}",}},
        },
        }""",
        token="t-1",
    )
    assert (found.client, found.section) == ("vscode", "servers")
    web, db = found.servers
    assert (web.url, dict(web.headers)) == ("https://x.example/a//b", {"Auth": "Bearer t-1"})
    assert db.command == ("db", f"{tmp_path}/shop/a.db", "//,}")
    assert (dict(db.env), db.cwd) == ({"K": "k-1"}, f"{tmp_path}/shop")


@pytest.mark.parametrize(
    ("name", "client"),
    [("claude_desktop_config.json", "claude-desktop"), (".mcp.json", "claude-code"), (".cursor/mcp.json", "cursor"),
     ("anything.json", "mcp-client")],
)  # fmt: skip
def test_a_client_is_known_by_its_files_name(tmp_path: Path, name: str, client: str) -> None:
    assert _read(tmp_path / name, '{"mcpServers": {"a": {"command": "x"}}}').client == client


def test_references_are_resolved_or_the_server_is_left_out(tmp_path: Path) -> None:
    assert _one(tmp_path, {"command": "${userHome}/x", "args": ["${NOT_SET:-other}", "${KEY}${EMPTY}"]}).command == (
        "/home/anna/x", "other", "k-1",
    )  # fmt: skip
    for text, why in (
        ("${input:token}", "--input token=FILE"), ("${env:NOT_SET}", "no NOT_SET"),
        ("${workspaceFolder}", "no project's"),        ("${command:evil.run}", "not known"),
    ):  # fmt: skip
        assert why in (_one(tmp_path, {"command": text}).why or "")


@pytest.mark.parametrize(
    "server",
    [
        7, {}, {"command": 3, "args": "x"}, {"command": "x", "args": [{}]}, {"command": "x", "disabled": True},
        {"command": "x", "envFile": ".env"}, {"url": "https://x.example", "type": "sse"},
        {"command": "x", "type": "http"},        {"command": "x", "env": ["A=b"]}, {"command": "x", "surprise": 1},
    ],
)  # fmt: skip
def test_what_is_not_known_is_told_and_never_guessed(tmp_path: Path, server: Any) -> None:
    assert _one(tmp_path, server).why


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"mcpServers": 1}', '{"mcpServers": {}}', '{"a": 1}'])
def test_a_file_without_servers_is_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError):
        _read(tmp_path / "mcp.json", text)
