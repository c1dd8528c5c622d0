"""The beginning of a workspace: keys, genesis, settings and the first person, who signs for all of it (D9, D31)."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import NamedTuple

from failwell.core import kinds
from failwell.core.canonical import encode
from failwell.core.errors import Refused
from failwell.core.instants import format_at
from failwell.core.orders import Init, Order, shown_digest
from failwell.core.records import Draft
from failwell.identity.persons import Signer, sign_order, verify_order
from failwell.ledger.vault import commitment
from failwell.node import settings, watch
from failwell.node.assembly import create_book, genesis_drafts, new_salt, sealed_writer, write_now
from failwell.node.clock import SystemClock
from failwell.node.workspace import Workspace
from failwell.notify.message import check_address


class Begun(NamedTuple):
    """A new workspace: where it is, its ledger's name, and the key that its checkpoints verify with."""

    workspace: Workspace
    origin: str
    log_key: str


def _make_room(workspace: Workspace) -> None:
    """Say that a beginning is under way, so that one that is cut off can be made again, and nothing else be made of it.

    A workspace that is there is not touched.
    """
    if workspace.unfinished.exists():
        workspace.set_aside()
    if not workspace.ledger.exists():
        workspace.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The directory may be there, with settings in it, and be readable by others: the mark is no secret.
        with workspace.unfinished.open("wb") as mark:
            mark.write(b"failwell init was cut off here: make it again\n")
            mark.flush()
            os.fsync(mark.fileno())


def begin(
    workspace: Workspace, signer: Signer, *, email: str | None, roles: tuple[str, ...], settings_toml: str,
    guard_place: Path | None = None,
) -> Begun:  # fmt: skip
    """Make a workspace. The first person signs the settings and their own enrolment; the order entry comes first (I7).

    `guard_place`: the directory of its guard; None is the user's own state directory.

    Raises InputError for settings that cannot be read or a workspace that is there already.
    """
    wanted = settings.parse_settings(settings_toml)
    if email is not None:
        check_address(email, "email")
    clock = SystemClock()
    _make_room(workspace)
    book, guard = create_book(workspace, clock, guard_place)
    (workspace.path / settings.FILE_NAME).write_text(settings_toml, encoding="utf-8")
    origin = workspace.origin()
    text = settings.settings_text(wanted)
    salt = new_salt()
    contact = None if email is None else commitment(salt, email.encode())
    public = base64.b64encode(signer.key.public).decode()
    details = Init(key=public, roles=roles, contact=contact, settings=watch.digest(text))
    shown = encode({"order": "init", "settings": details.settings, "person": signer.person})
    order = Order(
        order="init", origin=origin, person=signer.person, nonce=salt.hex(), at=format_at(clock.wall_us()),
        shown=shown_digest(shown), details=details,
    )  # fmt: skip
    signed = sign_order(signer, order)
    if verify_order(signed, signer.key.public) != order:
        raise Refused("the first order does not verify")
    by = f"person:{signer.person}"
    drafts = (
        *genesis_drafts(book, guard.key, "live"),
        Draft(
            body=kinds.Order(
                order="init", person=signer.person, key=signed.key, text=signed.order, signature=signed.signature,
                source="init",
            ),
            actor=by,
        ),
        Draft(body=kinds.Config(digest=details.settings, text=text), actor=by, refs=(2,)),
        Draft(
            body=kinds.PersonEnrolled(person=signer.person, key=public, roles=roles),
            actor=by,
            refs=(2,),
            secret=None if email is None else {"email": email, "salt": salt.hex()},
        ),
    )  # fmt: skip
    writer = sealed_writer(book, guard)
    try:
        write_now(writer, drafts)
    finally:
        writer.close()
    workspace.unfinished.unlink()
    return Begun(workspace, origin, workspace.log_pub.read_text().strip())
