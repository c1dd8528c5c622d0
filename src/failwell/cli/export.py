"""`ledger export`: what leaves the record in the open formats, for people who trust neither it nor us."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, door, plural, tell
from failwell.core.errors import InputError
from failwell.core.release import VERSION

if TYPE_CHECKING:
    from failwell.node.exports import Sealed

STDOUT = "-"
TELL_EVERY_S = 2.0

AgentName = Annotated[
    str | None, typer.Option(metavar="NAME", help="All entries of this agent, shown to be all, in one file.")
]
To = Annotated[
    str,
    typer.Option(
        metavar="FILE|-", help="Where a proof or an extract goes. Default: standard output.", show_default=False
    ),
]
WithCited = Annotated[bool, typer.Option("--with-cited", help="With --agent: also what its entries cite of others.")]


@door("ledger-export")
def export(
    tiles: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The whole log as C2SP tlog-tiles; adds to what is there.")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="The newest checkpoint, to be kept by somebody else.")
    ] = None,
    proof: Annotated[
        int | None, typer.Option(metavar="SEQ", min=0, help="The proof that this entry is sealed (C2SP tlog-proof).")
    ] = None,
    consistency: Annotated[
        str | None,
        typer.Option(metavar="OLD", help="The proof that it only grew since OLD: a checkpoint file, or a size."),
    ] = None,
    agent: AgentName = None,
    with_cited: WithCited = False,
    verifier: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The stand-alone verifier, for any Python 3.11: verify.pyz.")
    ] = None,
    to: To = STDOUT,
    workspace: options.Workspace = None, as_json: options.AsJson = False,
) -> Answer | None:  # fmt: skip
    """Take the sealed record, or a proof about it, away in the open formats.

    Nothing is started and nothing is written in the workspace. Entries that no checkpoint covers yet are not exported.

    \b
    Examples:
      failwell ledger export --checkpoint kept-by-the-auditor.note
      failwell ledger export --proof 17 --to entry-17.tlog-proof
      failwell ledger export --consistency kept-by-the-auditor.note
      failwell ledger export --tiles /srv/log
      failwell ledger export --agent refund-bot --to refund-bot.json
      failwell ledger export --agent refund-bot --consistency kept-by-the-auditor.note --to refund-bot.json
      failwell ledger export --verifier verify.pyz
    """
    _check_used(agent is not None or not with_cited, to, verifier, tiles, checkpoint)
    if verifier is not None:
        _check_bare(tiles, checkpoint, proof, consistency, agent)
        return _export_verifier(verifier)
    if agent is not None:
        _check_alone(tiles, checkpoint, proof)
        return _export_agent(session.open_workspace(workspace).path, agent, with_cited, consistency, to, as_json)
    chosen = [name for name, given in _given(tiles, checkpoint, proof, consistency).items() if given is not None]
    if len(chosen) != 1:
        raise InputError(
            f"{len(chosen)} things to export were named, one is needed",
            hint="--tiles DIR, --checkpoint FILE, --proof SEQ, --consistency OLD or --agent NAME",
        )
    place = session.open_workspace(workspace).path
    if tiles is not None:
        return _export_tiles(place, tiles)
    if checkpoint is not None:
        return _export_checkpoint(place, checkpoint, as_json)
    if proof is not None:
        return _export_proof(place, proof, to, as_json)
    return _export_growth(place, str(consistency), to, as_json)


def _check_used(cited_of_an_agent: bool, to: str, *named: object) -> None:
    """Refuse an option that would do nothing; `named`: what says itself where it goes."""
    if not cited_of_an_agent:
        raise InputError("--with-cited is of an extract", hint="It goes with --agent NAME.")
    if to != STDOUT and any(each is not None for each in named):
        raise InputError("--to is for a proof or an extract", hint="The others name where they go themselves.")


def _check_alone(*others: object) -> None:
    if any(other is not None for other in others):
        raise InputError("--agent is exported alone", hint="Only --consistency OLD goes with it, where OLD is a file.")


def _export_agent(
    place: Path, agent: str, with_cited: bool, old: str | None, to: str, as_json: bool
) -> Answer | None:  # fmt: skip
    from failwell.cli import verified
    from failwell.node import extracts

    made = extracts.export_extract(
        place, agent, with_cited=with_cited, checkpoints=() if old is None else (_read_kept(old),)
    )
    report = made.report
    says = f"{plural(report.entries, 'entry', 'entries')} of {report.agent} in {to}, shown to be all."
    asked = f"{verified.reach(report)} Blobs are not in it. Verify it: python3 verify.pyz {to} --key log.pub"
    fields = {**verified.extract_fields(report), "unsealed": made.unsealed}
    if made.unsealed:
        tell(f"Not exported: {plural(made.unsealed, 'entry', 'entries')} of the agent, not sealed yet.")
    if as_json and to == STDOUT:
        fields["extract"] = made.data.decode()
    return _write_out(made.data, to, fields, (says, asked), as_json)


def _check_bare(*others: object) -> None:
    if any(other is not None for other in others):
        raise InputError("--verifier is exported alone", hint="It is of this release, not of any record.")


def _given(*named: object) -> dict[str, object]:
    return dict(zip(("tiles", "checkpoint", "proof", "consistency"), named, strict=True))


def _export_tiles(place: Path, directory: Path) -> Answer:
    from failwell.node import exports

    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is not a directory", hint="Tiles go to a directory of their own.")
    made = exports.export_tiles(place, directory, _progress())
    sealed = made.sealed

    def show(screen: Screen) -> None:
        screen.lead(
            f"{plural(sealed.checkpoint.size, 'sealed entry', 'sealed entries')} in {directory}: "
            f"{plural(made.written, 'file')} written, {made.kept:,} there already and the same.",
            _beyond(sealed) or "Everything that was written is sealed.",
        )

    fields = {"directory": str(directory), "written": made.written, "kept": made.kept}
    return Answer(fields={**_fields(sealed), **fields}, show=show)


def _export_checkpoint(place: Path, to: str, as_json: bool) -> Answer | None:
    from failwell.node import exports

    sealed = exports.export_checkpoint(place)
    fields = {**_fields(sealed), "note": sealed.note.decode()}
    says = f"The checkpoint over {plural(sealed.checkpoint.size, 'entry', 'entries')} is in {to}."
    asked = f"Whoever keeps it can tell later if what it covers was changed: failwell ledger verify --checkpoint {to}"
    return _hand_over(sealed, sealed.note, to, fields, (says, asked), as_json)


def _export_proof(place: Path, seq: int, to: str, as_json: bool) -> Answer | None:
    from failwell.node import exports

    made = exports.export_proof(place, seq)
    says = f"The proof of entry {seq} under {plural(made.sealed.checkpoint.size, 'entry', 'entries')} is in {to}."
    asked = "It holds the entry's bytes. Any tool for C2SP tlog-proof verifies it, with the log's key: keys/log.pub"
    fields = {**_fields(made.sealed), "entry": seq, "proof": made.proof.encode().decode()}
    return _hand_over(made.sealed, made.proof.encode(), to, fields, (says, asked), as_json)


def _export_growth(place: Path, old: str, to: str, as_json: bool) -> Answer | None:
    from failwell.node import exports

    made = exports.export_growth(place, int(old) if old.isascii() and old.isdigit() else _read(old))
    size = made.sealed.checkpoint.size
    says = f"The proof that the {plural(size, 'entry', 'entries')} extend the first {made.growth.old:,} is in {to}."
    asked = "It is the request body of C2SP tlog-witness; its old root is in the checkpoint that was kept."
    fields = {
        **_fields(made.sealed), "old_size": made.growth.old,
        "old_root": None if made.old_root is None else made.old_root.hex(), "proof": made.growth.encode().decode(),
    }  # fmt: skip
    return _hand_over(made.sealed, made.growth.encode(), to, fields, (says, asked), as_json)


def _export_verifier(to: Path) -> Answer:
    """Made from this release alone: no workspace is needed, and it fits every record that the release can read."""
    from failwell.offline import archive

    data = archive.build()
    _write_new(to, data)
    to.chmod(0o755)
    digest = sha256(data).hexdigest()

    def show(screen: Screen) -> None:
        screen.lead(
            f"The verifier of release {VERSION} is in {to}: {len(data):,} bytes, SHA-256 {digest}.",
            f"Whoever doubts the record runs it with the key they were given: python3 {to.name} FILE --key log.pub",
        )

    return Answer(fields={"file": str(to), "bytes": len(data), "sha256": digest, "release": VERSION}, show=show)


def _hand_over(
    sealed: Sealed, data: bytes, to: str, fields: dict[str, Any], says: tuple[str, str], as_json: bool
) -> Answer | None:  # fmt: skip
    """To a new file, or to standard output; there programs that ask for JSON get it inside the object."""
    if sealed.unsealed:
        tell(_beyond(sealed))
    return _write_out(data, to, fields, says, as_json)


def _write_out(data: bytes, to: str, fields: dict[str, Any], says: tuple[str, str], as_json: bool) -> Answer | None:
    if to == STDOUT:
        if as_json:
            return Answer(fields=fields, show=lambda screen: None)
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return None
    _write_new(Path(to), data)
    return Answer(fields={**fields, "file": to}, show=lambda screen: screen.lead(*says))


def _write_new(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; never over another one, which may be what somebody kept as evidence."""
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is not a directory", hint="Make it first, or name another place.")
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(unfinished, path)
    except FileExistsError as error:
        raise InputError(f"{path} is there already", hint="Name a new file; what was kept is not replaced.") from error
    finally:
        unfinished.unlink()


def _read_kept(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise InputError(
            f"the checkpoint {name} cannot be read: {error.strerror}",
            hint="With --agent, OLD is the file of a checkpoint that was kept, or a mail with one.",
        ) from error


def _read(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise InputError(
            f"{name} is neither a size nor a file that can be read: {error.strerror}",
            hint="Give the checkpoint that was kept, a mail with one, or a number of entries.",
        ) from error


def _fields(sealed: Sealed) -> dict[str, Any]:
    checkpoint = sealed.checkpoint
    return {
        "origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex(),
        "unsealed": sealed.unsealed,
    }  # fmt: skip


def _beyond(sealed: Sealed) -> str:
    """What stays behind; empty where nothing does."""
    if not sealed.unsealed:
        return ""
    return f"Not exported: {plural(sealed.unsealed, 'entry', 'entries')} after it, not sealed yet."


def _progress() -> Callable[[int, int], None]:
    """Progress on standard error, for exports that take longer than a look."""
    last = time.monotonic()

    def said(done: int, size: int) -> None:
        nonlocal last
        if time.monotonic() - last >= TELL_EVERY_S:
            last = time.monotonic()
            tell(f"{done:,} of {size:,} entries ...")

    return said
