"""The page behind the link of a message, and the webhook of an on-call service: for whoever has what was sent.

Looking consumes nothing, whoever looks: a mail scanner, a preview, a browser that runs what it finds. What is posted
needs a choice that nothing makes by itself. The page runs no script, loads nothing and tells nobody where it was
opened.
"""

from __future__ import annotations

import functools
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.types import Receive, Scope

from failwell.core.errors import FailwellError, InputError, NotFound, Refused
from failwell.web.door import Door

HTML = "text/html; charset=utf-8"
FORM = "application/x-www-form-urlencoded"
MAX_FORM = 2_048
MAX_HOOK = 262_144
#: The path of the link, and of the webhook.
LINK, HOOK = "/a/{token}", "/hooks/pagerduty/{channel}"
_POLICY = b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_FIELDS = [
    (b"content-security-policy", _POLICY),
    (b"referrer-policy", b"no-referrer"), (b"x-content-type-options", b"nosniff"), (b"x-frame-options", b"DENY"),
    (b"x-robots-tag", b"noindex"), (b"cross-origin-opener-policy", b"same-origin"),
]  # fmt: skip
FOOT = "Whoever has this link can do this and nothing else. Do not pass it on."
#: By what an answer does: its heading, its choice, and what is said once it is done.
_ASKS = {
    "acknowledge": ("take", "I take it: I look into it now"),
    "prove": ("here", "It reached me"),
    "receive": ("read", "I have read it"),
}
_OTHERS = {"acknowledge": ("not", "Not me: leave it to the others")}


@functools.cache
def _template() -> Any:
    place = Environment(
        loader=PackageLoader("failwell.web", "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return place.get_template("answer.html")


async def link(door: Door, scope: Scope, receive: Receive, answer: Any) -> None:
    """GET and HEAD show the page; POST answers, once."""
    token, method = scope["path_params"]["token"], scope["method"]
    door.rates.take(("visitor", _visitor(scope)))
    answer.more = [*_FIELDS]
    status, words = HTTPStatus.OK, {}
    try:
        if method == "POST":
            words = await _post(door, scope, receive, token)
        else:
            words = _asking(await door.node.call("answer", token=token, look=True))
    except FailwellError as error:
        status, words = _failed(error)
    page = _template().render({"choices": (), "grave": False, "foot": FOOT, **words})
    await answer.write(status, HTML, b"" if method == "HEAD" else page.encode())


async def hook(door: Door, scope: Scope, receive: Receive, answer: Any) -> None:
    """What an on-call service posts: passed on as it came, with its signature."""
    raw = (await receive())["body"]
    if len(raw) > MAX_HOOK:
        raise InputError(f"a webhook of more than {MAX_HOOK} bytes is not read", code="too-large")
    door.rates.take(("visitor", _visitor(scope)))
    signed = [value for name, value in scope["headers"] if name == b"x-pagerduty-signature"]
    try:
        body = raw.decode()
    except UnicodeDecodeError as error:
        raise InputError("the body is not UTF-8", code="malformed") from error
    if len(signed) != 1:
        raise Refused("it is not signed", code="answer-refused")
    try:
        told = await door.node.call(
            "hooked", channel=scope["path_params"]["channel"], body=body, signature=signed[0].decode("latin-1")[:2000]
        )
    except NotFound as error:
        raise NotFound("nothing listens here") from error
    await answer.write(HTTPStatus.OK, "application/json", b'{"state":"%s"}' % str(told["state"]).encode())


async def _post(door: Door, scope: Scope, receive: Receive, token: str) -> dict[str, Any]:
    raw = (await receive())["body"]
    kinds = [value for name, value in scope["headers"] if name == b"content-type"]
    if len(raw) > MAX_FORM or len(kinds) != 1 or kinds[0].partition(b";")[0].strip().lower() != FORM.encode():
        raise InputError("that is not the form of this page", code="malformed")
    seen = await door.node.call("answer", token=token, look=True)
    choices = parse_qs(raw.decode("ascii", "replace"), max_num_fields=4).get("choice", [])
    value, _ = _ASKS[seen["purpose"]]
    if choices == ["not"] and seen["purpose"] == "acknowledge":
        return {
            "heading": "Nothing was done",
            "lines": ["It stays with the others who are asked.", f"Incident {seen['incident']}: {seen['title']}"],
            "foot": "This link is still good.",
        }
    if choices != [value]:
        return _asking(seen) | {"foot": "Nothing was chosen, so nothing was done."}
    return _done(await door.node.call("answer", token=token))


def _asking(seen: dict[str, Any]) -> dict[str, Any]:
    """What there is to decide."""
    purpose = seen["purpose"]
    if purpose == "prove":
        return {
            "heading": f"{seen['person']}, did this reach you?", "lines": ["So that it does when it has to."],
            "choices": (_ASKS[purpose],),
        }  # fmt: skip
    if purpose == "receive":
        return {
            "heading": f"{seen['person']}, have you read it?", "lines": ["What was noticed of your agents."],
            "choices": (_ASKS[purpose],),
        }  # fmt: skip
    what = f"Incident {seen['incident']}, {seen['severity']}: {seen['title']}"
    if seen["taken_by"]:
        return {"heading": f"{' and '.join(seen['taken_by'])} took it", "lines": [what, "Nothing is asked of you."]}
    return {
        "heading": f"{seen['person']}, do you take incident {seen['incident']}?", "lines": [what],
        "choices": (_ASKS[purpose], _OTHERS[purpose]), "grave": seen["severity"] == "critical",
    }  # fmt: skip


def _done(told: dict[str, Any]) -> dict[str, Any]:
    if told["purpose"] == "acknowledge":
        return {
            "heading": f"{told['person']} has incident {told['incident']}",
            "lines": [
                f"It is on record (entry {told['entry']}), and nobody else is asked.",
                f"What next: failwell incident show {told['incident']}",
            ],
            "foot": "Nothing was released, closed or allowed by this.",
        }
    return {"heading": "Thank you", "lines": ["It is on record."], "foot": "You can close this page."}


def _failed(error: FailwellError) -> tuple[HTTPStatus, dict[str, Any]]:
    """What went wrong, in words for who came by a link. Attack: an answer that tells a guess from what once was."""
    if error.code == "answer-refused" or isinstance(error, NotFound):
        why = f"{error.message[:1].upper()}{error.message[1:]}."
        words = {"heading": "This link does nothing any more", "lines": [why]}
        return HTTPStatus.GONE, {**words, "foot": error.hint or "A newer message has a link of its own."}
    if isinstance(error, InputError):
        return HTTPStatus.BAD_REQUEST, {"heading": "That was not understood", "lines": [error.message], "foot": FOOT}
    why = error.message if error.code == "unrecorded" else "The node does not answer"
    words = {"heading": "It could not be taken", "lines": [f"{why[:1].upper()}{why[1:]}. Nothing was done; try again."]}
    status = HTTPStatus.TOO_MANY_REQUESTS if getattr(error, "code", "") == "rate" else HTTPStatus.SERVICE_UNAVAILABLE
    return status, {**words, "grave": True, "foot": "Or, with your key: failwell incident acknowledge N"}


def _visitor(scope: Scope) -> str:
    """Who asks, as far as this door can tell."""
    return str((scope.get("client") or ("unknown",))[0])
