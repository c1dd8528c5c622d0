"""The stand-alone verifier's command: options, progress and exit codes. This is what `verify.pyz` runs.

    0  everything that could be checked holds     2  wrong usage
    1  something does not hold, or the key given  3  this machine could not do it
       does not vouch for it

Nothing is written where the record lies, nothing is fetched, and no library beyond Python's own is needed.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

from failwell.core import note
from failwell.core.errors import Corrupt, FailwellError, InputError
from failwell.core.release import VERSION
from failwell.offline import attested, reading, signatures, telling
from failwell.offline.checking import FULL, HASH_ONLY, Asked, Outcome, check
from failwell.verify.anchors import Anchor, find_notes

FINE, FINDING, USAGE, FAILED, STOPPED = 0, 1, 2, 3, 130

_ABOUT: Final = """\
Verify a record of Failwell without Failwell: a ledger file or its workspace, a
directory of C2SP tlog-tiles, or the extract of one agent. Needs no library, no
network and no trust in whoever kept the record; writes nothing there."""
_MORE: Final = """\
Have the key and the checkpoint from somebody else than whoever gave you the
record. The key is one line of text, as the operator published it; a checkpoint
stands in every mail of an incident. What was not checked is said, by its step.

Exit codes: 0 everything that could be checked holds, 1 something does not, or
the key given does not vouch for it, 2 wrong usage, 3 this machine failed.

examples:
  python3 verify.pyz ledger.db --key log.pub --checkpoint mail.eml
  python3 verify.pyz refund-bot.json --key log.pub --checkpoint mail.eml
  python3 verify.pyz ledger.db --key log.pub --hash-only
  python3 verify.pyz tiles/ --key log.pub --witness witnesses.txt \\
      --timestamp head.tsr --tsa-ca authority.pem
"""
_QUIET_S: Final = 2.0
_TELL_EVERY_S: Final = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    options = _parser().parse_args(arguments)
    name, verify = signatures.choose(options.own_ed25519)
    try:
        given = reading.look_at(options.what)
        key, key_from = _key(options, given)
        asked = Asked(
            given=given, key=key, kept=list(_anchors(options.checkpoint)), witnesses=_witnesses(options.witness),
            stamp=options.timestamp, authority=options.tsa_ca, mode=HASH_ONLY if options.hash_only else FULL,
            verify=verify,
        )  # fmt: skip
        outcome = check(asked, _Progress(sys.stderr).tell)
    except FailwellError as error:
        return _failure(options, error)
    except (OSError, sqlite3.Error, MemoryError) as error:
        return _failure(options, Corrupt(f"{type(error).__name__}: {error}", code="failed"))
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped by you.\n")
        return STOPPED
    return _show(options, outcome, asked, name, key_from)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="verify.pyz", description=_ABOUT, epilog=_MORE, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )  # fmt: skip
    add = parser.add_argument
    add("what", type=Path, metavar="WHAT", help="the workspace, ledger.db, directory of tiles, or extract")
    add("--key", type=Path, metavar="FILE", help="the log's verifier key (C2SP vkey), from elsewhere")
    add("--without-key", action="store_true", help="check only that the record agrees with itself")
    add("--checkpoint", type=Path, metavar="FILE", action="append", default=[],
        help="a checkpoint that another party kept: a note, or a mail with one; once for each")  # fmt: skip
    add("--witness", type=Path, metavar="FILE", action="append", default=[],
        help="verifier keys of witnesses, one a line; each must have cosigned a checkpoint that is here")  # fmt: skip
    add("--timestamp", type=Path, metavar="FILE", help="an RFC 3161 answer over a checkpoint (needs openssl)")
    add("--tsa-ca", type=Path, metavar="FILE", help="certificate of the time-stamp authority, PEM")
    add("--hash-only", action="store_true", help="leaves, tree and signed heads only; nothing of what entries say")
    add("--own-ed25519", action="store_true", help="verify signatures with our own code also where cryptography is")
    add("--json", action="store_true", help="one JSON object on standard output")
    add("--version", action="version", version=f"failwell verify.pyz {VERSION}")
    return parser


# ---------------------------------------------------------------------------------------------------- what is given


def _key(options: argparse.Namespace, given: reading.Given) -> tuple[str | None, str | None]:
    """The log's vkey, and where it came from; a file in which there is none is wrong usage, not a finding."""
    if options.without_key:
        if options.key is not None or given.kind == reading.EXTRACT:
            why = "and --key contradict each other" if options.key else "is not possible for an extract"
            raise InputError(f"--without-key {why}")
        return None, None
    path = options.key or given.key
    if path is None:
        less = "" if given.kind == reading.EXTRACT else ", or --without-key to check it against itself"
        raise InputError(
            "no key was given, and without one nothing shows whose record it is",
            hint=f"--key FILE (the text of keys/log.pub, from elsewhere){less}.",
        )
    text = reading.read_text(path, "key").strip()
    try:
        note.VerifierKey.parse(text)
    except InputError as error:
        raise InputError(
            f"{path} does not hold a verifier key: {error.message}", hint="It is the text of keys/log.pub, one line."
        ) from error
    return text, f"{path}" if options.key else f"beside the record, {path}"


def _anchors(paths: Sequence[Path]) -> Iterator[Anchor]:
    for path in paths:
        data = reading.read_bytes(path, "checkpoint")
        try:
            yield from (Anchor(str(path), found) for found in find_notes(data))
        except InputError as error:
            raise InputError(f"{path}: {error.message}", hint=error.hint) from error


def _witnesses(paths: Sequence[Path]) -> list[Any]:
    found: dict[Any, None] = {}
    for path in paths:
        text = reading.read_text(path, "witness file")
        try:
            found.update(dict.fromkeys(attested.read_witnesses(text)))
        except InputError as error:
            raise InputError(f"{path}: {error.message}", hint=error.hint) from error
    return list(found)


# ------------------------------------------------------------------------------------------------------ what is said


class _Progress:
    """A line on standard error each second, once a verification takes longer than a look."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began = time.monotonic()
        self._next = self._began + _QUIET_S

    def tell(self, phase: str, taken: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _TELL_EVERY_S
            self._stream.write(f"{taken:,} entries, {taken / (now - self._began):,.0f}/s ...\n")
            self._stream.flush()


def _show(options: argparse.Namespace, outcome: Outcome, asked: Asked, name: str, key_from: str | None) -> int:
    if options.json:
        text = telling.as_json(outcome, asked, name, key_from)
    else:
        text = "\n".join(telling.lines(outcome, asked, name, key_from))
    _write(text + "\n")
    return FINE if telling.shown(outcome, asked) else FINDING


def _failure(options: argparse.Namespace, error: FailwellError) -> int:
    if options.json:
        _write(telling.failure(error) + "\n")
    sys.stderr.write(f"{error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
    return USAGE if isinstance(error, InputError) else FAILED


def _write(text: str) -> None:
    """To standard output, in whatever alphabet it has; a reader that went away is no failure of the record."""
    try:
        sys.stdout.buffer.write(text.encode(sys.stdout.encoding or "utf-8", "backslashreplace"))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
