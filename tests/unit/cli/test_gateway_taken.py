"""A client's servers as the settings have them: what looks like a secret is never in the settings, nor in a message."""

from __future__ import annotations

import pytest

from failwell.cli.gateway_taken import Taken, looks_secret, take
from failwell.inventory.client_configuration import ClientServer

TOKEN = "ghp_Zx81kQm2Lw90TtRe4bNs"


def _take(**said: object) -> Taken:
    return take([ClientServer("My Server", **said)], "/usr/bin:/bin")[0]  # type: ignore[arg-type]


@pytest.mark.requirement("R3.26")
def test_a_programs_secrets_are_named_and_its_path_is_absolute() -> None:
    taken = _take(command=("sh", "-c", "true"), env={"API_KEY": TOKEN, "LEVEL": "debug", "KEY_FILE": "/etc/key"})
    assert taken.declared is not None
    assert taken.declared.command[0].startswith("/")
    assert taken.declared.env == {"LEVEL": "debug", "KEY_FILE": "/etc/key"}
    assert (taken.declared.secrets, taken.secrets) == ({"API_KEY": "my-server.api_key"}, {"my-server.api_key": TOKEN})
    assert TOKEN not in repr(taken)


def test_headers_are_secrets_all_of_them() -> None:
    taken = _take(url="https://x.example/mcp", headers={"X-Api-Key": "plain-looking"})
    assert taken.declared is not None
    assert (taken.declared.allow_remote, taken.declared.secrets) == (True, {"X-Api-Key": "my-server.x-api-key"})


@pytest.mark.parametrize(
    "said",
    [
        {"command": ("sh", "--api-key", TOKEN)},
        {"command": ("sh", f"--token={TOKEN}")},
        {"command": ("sh", "postgres://anna:hunter22@db.example/shop")},
        {"command": ("sh", "--password", "hunter2222")},
        {"command": ("sh",), "env": {"PASSWORD": "short"}},
        {"url": f"https://x.example/mcp?api_key={TOKEN}"},
        {"url": f"https://anna:{TOKEN}@x.example/mcp"},
        {"command": ("no-such-program-anywhere",)},
        {"command": ("sh",), "env": {"A B": "x"}},
        {"url": "ftp://x.example"},
    ],
)
def test_a_server_whose_secret_cannot_be_taken_out_is_not_taken_over_and_the_secret_not_told(
    said: dict[str, object],
) -> None:
    taken = _take(**said)
    assert taken.declared is None
    assert taken.why
    assert TOKEN not in taken.why
    assert "hunter" not in taken.why


def test_names_are_spelled_for_the_settings_and_never_twice() -> None:
    servers = [ClientServer(name, command=("sh",)) for name in ("My Server", "my-server", "ファイル", "a" * 99)]
    names = [each.name for each in take(servers, "/usr/bin:/bin")]
    assert names == ["my-server", "my-server-2", "server", "a" * 28]
    assert all(each.declared for each in take(servers, "/usr/bin:/bin"))


@pytest.mark.parametrize("value", ["true", "8080", "debug", "/etc/key.pem", "en_US.UTF-8", "https://x.example/a", ""])
def test_plain_values_stay_where_they_are(value: str) -> None:
    assert not looks_secret("SETTING", value)


@pytest.mark.parametrize(
    "name",
    [
        "GITHUB_TOKEN",
        "apiKey",
        "DB_PASSWORD",
        "DSN",
        "X-Auth",
        "GITLAB_PAT",
        "MYAPIKEY",
        "OPENAI_API_KEY",
        "--access-token",
        "AWS_SECRET_ACCESS_KEY",
    ],
)
@pytest.mark.requirement("R3.26")
def test_what_is_named_like_a_secret_is_taken_for_one(name: str) -> None:
    assert looks_secret(name, "anything")


@pytest.mark.parametrize("name", ["GIT_AUTHOR_NAME", "MONKEY_PATCH", "BYPASS", "KEYBOARD", "TOKENIZER", "--pathspec"])
def test_what_is_only_spelled_like_a_secret_stays(name: str) -> None:
    assert not looks_secret(name, "Anna")
