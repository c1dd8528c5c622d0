"""The files that an import leaves: secrets, settings, definitions as they were accepted, a contract draft, and the
client's new configuration. Each is written whole or not at all; none that is there is overwritten with something else,
the settings aside, to which is only added (`node.settings_edit`).
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from failwell.core.errors import InputError, NotFound
from failwell.identity import keys

if TYPE_CHECKING:
    from failwell.mcp.definitions import Definition
    from failwell.node.workspace import Workspace

#: Variables that say where keys, guards and sockets are.
_PLACES = ("FAILWELL_CONFIG", "FAILWELL_STATE", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR")
MAX_ACCEPTED_BYTES = 8 * 1024 * 1024


def keep_secrets(place: Workspace, values: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Write each secret into its own file (0600); gives those written, and those that a file holds differently by now,
    which are left as they are.
    """
    written, other = [], []
    for name, value in values.items():
        path = place.path / "secrets" / name
        if not path.exists():
            keys.write_private(path, value.encode() + b"\n")
            written.append(name)
        elif keys.read_kept(path, 65_536).rstrip(b"\r\n") != value.encode():
            other.append(name)
    return written, other


def replace_text(path: Path, text: str) -> None:
    """Write a text in the place of an earlier one, whole, with the earlier one's mode."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_beside(path: Path, text: str) -> Path:
    """Write a text to `path`, or beside it (`NAME.2.yaml`) where something else stands there; gives where."""
    for number in range(1, 100):
        at = path if number == 1 else path.with_name(f"{path.stem}.{number}{path.suffix}")
        try:
            if at.read_text("utf-8") == text:
                return at
        except FileNotFoundError:
            replace_text(at, text)
            return at
        except UnicodeDecodeError:
            continue
    raise InputError(f"there are a hundred files like {path}", hint="Take some of them away.")


# ---- definitions as they were accepted -------------------------------------------------------------------------


def accepted_path(place: Workspace, upstream: str) -> Path:
    """Where the accepted definitions of a server are kept, for comparing: what is in force are the pins."""
    return place.path / "upstreams" / f"{upstream}.json"


def keep_accepted(place: Workspace, upstream: str, definitions: Iterable[Definition]) -> None:
    """Keep definitions as they were accepted."""
    path = accepted_path(place, upstream)
    path.parent.mkdir(mode=0o755, exist_ok=True)
    kept = {each.name: json.loads(each.raw) for each in definitions}
    replace_text(path, json.dumps(kept, indent=1, sort_keys=True) + "\n")


def read_accepted(place: Workspace, upstream: str, pins: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The definitions that the pins are of, as far as they are kept. INVARIANT: each is what its pin says."""
    from failwell.core.canonical import parse
    from failwell.mcp.definitions import digest_of

    try:
        found = parse(accepted_path(place, upstream).read_bytes(), max_bytes=MAX_ACCEPTED_BYTES, max_depth=64)
    except FileNotFoundError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: each for name, each in found.items() if isinstance(each, dict) and digest_of(each) == pins.get(name)}


# ---- the client's new configuration ----------------------------------------------------------------------------


def own_program() -> list[str]:
    """How this program is started from anywhere, in any environment."""
    at = Path(sys.argv[0])
    if at.name == "failwell" and at.is_file():
        return [str(at.resolve().parent / at.name) if not at.is_symlink() else str(at.absolute())]
    return [sys.executable, "-m", "failwell"]


def client_configuration(
    section: str, servers: Mapping[str, str], agent: str, workspace: Path, environ: Mapping[str, str]
) -> str:  # fmt: skip
    """The new configuration. `servers`: the client's name of each -> ours; its tools keep their names by that."""
    program, *before = own_program()
    # The client may start it in another environment than this one, in which the agent's key was made.
    own = {name: environ[name] for name in _PLACES if environ.get(name)}
    entries = {
        client: {
            **({"type": "stdio"} if section == "servers" else {}),
            "command": program,
            "args": [*before, "gateway", "--server", name, "--agent", agent, "--workspace", str(workspace)],
            **({"env": own} if own else {}),
        }
        for client, name in servers.items()
    }
    return json.dumps({section: entries}, indent=2, ensure_ascii=False) + "\n"


def new_path(path: Path) -> Path:
    """`mcp.failwell.json` beside `mcp.json`."""
    return path.with_name(f"{path.stem}.failwell{path.suffix}")


def parse_input(given: str) -> tuple[str, str]:
    """`ID=FILE` of an option: what a client would ask a person for, from a file, since arguments are seen by others."""
    name, _, file = given.partition("=")
    if not name or not file:
        raise InputError(f"--input {given!r} is not ID=FILE")
    try:
        return name, keys.read_kept(Path(file), 65_536).decode().rstrip("\r\n")
    except (NotFound, UnicodeDecodeError) as error:
        raise InputError(f"--input {name}: {file} cannot be read as text") from error
