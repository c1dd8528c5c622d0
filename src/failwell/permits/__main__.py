"""`python -m failwell.permits check|fence`: the verifier for shell tools, and for the `fence` command of the settings.

The permit is read from $FAILWELL_PERMIT and the arguments from standard input: neither is ever an argument, where every
user of the machine could read it. `fence` without more reads from standard input what a node tells of a stop
(`node.endings.commands`). Exit codes: 0 good, 1 refused, 2 usage, 3 the store failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from failwell.core import canonical
from failwell.core.errors import FailwellError, InputError
from failwell.permits.claims import check_scope
from failwell.permits.refusal import PermitRefused
from failwell.permits.store import Store
from failwell.permits.verifier import Verifier

FINE, REFUSED, USAGE, FAILED = 0, 1, 2, 3
TOKEN = "FAILWELL_PERMIT"
_MAX_ARGUMENT_BYTES = 2 * 1024 * 1024


def main(arguments: Sequence[str], environ: Mapping[str, str], given: IO[bytes], out: IO[str], err: IO[str]) -> int:
    """Run one command; its exit code."""
    options = _parser().parse_args(arguments)
    try:
        told = _check(options, environ, given) if options.command == "check" else _fence(options, given)
    except FailwellError as error:
        if options.json:
            problem = {"code": error.code, "message": error.message, "hint": error.hint}
            out.write(json.dumps({"error": problem}) + "\n")
        else:
            hint = "" if error.hint is None else f"\n{error.hint}"
            err.write(f"refused ({error.code}): {error.message}{hint}\n")
        return _exit_code(error)
    if options.json:
        out.write(json.dumps({"schema": f"failwell/permit-{options.command}/1", **told}) + "\n")
    elif options.command == "check":
        out.write(f"good: {told['tool']} by {told['agent']}, action {told['action']}\n")
    else:
        out.write("".join(f"fenced: {scope} below epoch {epoch}\n" for scope, epoch in told["fenced"].items()))
    return FINE


def _check(options: argparse.Namespace, environ: Mapping[str, str], given: IO[bytes]) -> dict[str, Any]:
    token = environ.get(TOKEN, "")
    if not token:
        raise PermitRefused("malformed", f"there is no permit in ${TOKEN}", hint='Settings: [tools."NAME"] permit.')
    text = given.read(_MAX_ARGUMENT_BYTES)
    verifier = Verifier(
        _read(options.keys), issuer=options.issuer, audience=options.audience, store=options.store,
        leeway_s=options.leeway, max_lifetime_s=options.max_lifetime,
    )  # fmt: skip
    permit = verifier.check(token, tool=options.tool, arguments=text)
    return {
        "agent": permit.agent, "tool": permit.tool, "action": permit.action, "jti": permit.jti,
        "chain": list(permit.chain), "epoch": permit.epoch, "expires": permit.expires,
    }  # fmt: skip


def _fence(options: argparse.Namespace, given: IO[bytes]) -> dict[str, Any]:
    if options.scope is None:
        epochs = _told(given.read(_MAX_ARGUMENT_BYTES))
    elif options.epoch is None:
        raise InputError("a scope is fenced at an epoch", hint="Say both, or neither to take them from the node.")
    else:
        epochs = {options.scope: options.epoch}
    Store(options.store).fence(tuple((check_scope(scope), _number(epoch)) for scope, epoch in epochs.items()))
    return {"fenced": {scope: _number(epoch) for scope, epoch in epochs.items()}}


def _told(text: bytes) -> dict[str, Any]:
    """What the node tells a `fence` command on its input: the action, its agents and scopes, with the epochs of now."""
    try:
        told = canonical.parse(text)
        agents = {told["agent"]: told["epoch"], **told["chain"]}
        return {f"action:{told['action']}": 1, **{f"agent:{name}": agents[name] for name in agents}, **told["scopes"]}
    except (InputError, LookupError, TypeError) as error:
        raise InputError(
            f"this is not what a node tells of a stop: {error}", hint="Or say it: fence SCOPE EPOCH --store FILE"
        ) from error


def _number(epoch: Any) -> int:
    text = str(epoch)
    if isinstance(epoch, bool) or not text.isascii() or not text.isdigit() or len(text) > 15:
        raise InputError(f"{text[:40]!r} is no epoch")
    return int(text)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint="failwell permit keys > FILE") from error


def _exit_code(error: FailwellError) -> int:
    if error.code in ("store", "not-found"):
        return FAILED
    return REFUSED if isinstance(error, PermitRefused) else USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m failwell.permits", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help=f"Use up the permit in ${TOKEN} for the arguments on standard input.")
    check.add_argument("--keys", type=Path, required=True, help="The file that failwell permit keys was written to.")
    check.add_argument("--issuer", required=True, help="The log's origin, as failwell permit keys tells it.")
    check.add_argument("--audience", required=True, help="This server, as the settings of the node name it.")
    check.add_argument("--tool", required=True, help="The tool that is about to act.")
    check.add_argument("--leeway", type=int, default=5, help="Seconds that the clocks may be apart (%(default)s).")
    check.add_argument("--max-lifetime", type=int, default=60, help="Longest life of a permit in s (%(default)s).")
    fence = commands.add_parser("fence", help="Refuse what is below these epochs; without SCOPE as a node tells it.")
    fence.add_argument("scope", nargs="?", help="agent:NAME, action:N, all, group:, tool: or contract:NAME.")
    fence.add_argument("epoch", nargs="?", help="The lowest epoch that is still good.")
    for command in (check, fence):
        command.add_argument("--store", type=Path, required=True, help="The file in which uses are remembered.")
        command.add_argument("--json", action="store_true", help="One JSON object on standard output.")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ, sys.stdin.buffer, sys.stdout, sys.stderr))
