"""`escalation receive`: hands a mail that came in to the node, for mail servers that deliver to a command."""

from __future__ import annotations

import base64
import sys
from typing import Any

import typer

from failwell.cli import options, session
from failwell.cli.screen import Answer, Screen, door
from failwell.core.errors import InputError, Refused, Unhealthy, Unreachable

#: EX_TEMPFAIL of sysexits.h, as mail servers read it.
TRY_LATER = 75
_DONE = {"acknowledge": "took incident {}", "prove": "showed that mails reach them", "receive": "received the digest"}


def register(app: typer.Typer) -> None:
    """Add the command to `escalation`."""
    app.command("receive")(receive)


@door("escalation-receive")
def receive(workspace: options.Workspace = None, as_json: options.AsJson = False) -> Answer:
    """Read one mail from standard input: an answer to a page, a page that came back, or nothing that counts.

    For a mail server that delivers to a command (an alias, .forward, procmail, sieve's pipe). A reply answers by its
    first line, ACK and the code, from the address that the page was sent to; what was sent automatically answers
    nothing. Ends with 0 for every mail that was judged, so that the server bounces none back to a stranger, and with 75
    where it could not be judged now, so that the server keeps it and tries again.

    \b
    Example, in /etc/aliases:
      failwell: "|failwell escalation receive --workspace /srv/failwell"
    """
    from failwell.notify.mime import MAX_READ

    content = sys.stdin.buffer.read(MAX_READ)
    while sys.stdin.buffer.read(MAX_READ):  # a server that cannot hand over all of it takes that for a failure
        pass
    if not content:
        raise InputError("there is no mail on standard input", hint="failwell escalation receive < MAIL")
    place = session.open_workspace(workspace)
    try:
        with session.reach_node(place) as wire:
            told = _given(wire, content)
    except (Unreachable, Unhealthy) as error:
        told = {"state": "later", "why": error.message}

    def show(screen: Screen) -> None:
        screen.lead(
            _said(told), "Nothing more is asked." if told["state"] != "later" else "The mail server tries again."
        )

    return Answer(fields=told, show=show, status=TRY_LATER if told["state"] == "later" else 0)


def _given(wire: Any, content: bytes) -> dict[str, Any]:
    try:
        told: dict[str, Any] = wire.call("mailed", content=base64.b64encode(content).decode())
    except Refused as error:
        return {"state": "refused", "why": error.message}
    return told


def _said(told: dict[str, Any]) -> str:
    if told["state"] == "done":
        done = _DONE[told["purpose"]].format(told.get("incident"))
        return (
            f"{told['person']} {done} by it (entry {told['entry']})."
            if "entry" in told
            else f"{told['person']} {done}."
        )
    if told["state"] == "bounced":
        return f"Page {told['page']} came back{', for good' if told['permanent'] else ' and may still arrive'}."
    if told["state"] == "later":
        return f"It cannot be judged now: {told['why']}."
    return f"It answers nothing: {told['why']}."
