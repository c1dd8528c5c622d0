"""What a mail that came in says: that one of ours came back, that a person answers one, or nothing that counts.

A stranger writes these bytes. Only the first line of a reply's own text answers, so that no quoted letter, vacation
note or forwarded mail does; what was sent automatically never does. Who a reply is from decides nothing here: whoever
judges it holds the sender against the address on record. Only a report that returns the headers of a mail of ours
counts as its coming back. Source: RFC 5322, RFC 3464 (delivery status), RFC 3834 (automatic), RFC 6522 (reports).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from failwell.notify import mime
from failwell.notify.message import RETURNED, clean_line
from failwell.notify.mime import Part

_OUR_ID: Final = re.compile(r"<(page-[0-9a-f]{24})@failwell\.invalid>")
_CODE: Final = r"(?P<code>[0-9A-Za-z](?:[ \t\xa0-]*[0-9A-Za-z]){15})"
_ANSWER: Final = re.compile(rf"ACK[ \t\xa0:,.-]+{_CODE}[ \t\xa0]*[.!]?", re.IGNORECASE)
#: Dashes that programs put where a person wrote a plain one.
_DASHES: Final = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"))
_ADDRESS: Final = r"[^\s<>@,;:\"()]{1,64}@[A-Za-z0-9.-]{1,255}"
_SENDER: Final = re.compile(rf"[^<>,;]*<\s*(?P<named>{_ADDRESS})\s*>\s*|\s*(?P<bare>{_ADDRESS})\s*")
#: A person's name there is of no interest, and may hold anything.
_NAMED: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\([^()]*\)')
_ANY_ADDRESS: Final = re.compile(r"[^\s<>;,()]+@[^\s<>;,()]+")
_PROTOCOL: Final = re.compile(r"^[A-Za-z0-9-]{1,20}\s*;\s*")
_TO_MANY: Final = frozenset({"bulk", "junk", "list", "auto_reply"})
_ARRIVED: Final = frozenset({"delivered", "relayed", "expanded"})
_ORIGINAL: Final = frozenset(
    {"message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "message/global", "message/global-headers"}
)
_REPORT: Final = frozenset({"message/delivery-status", "message/global-delivery-status"})


class Bounce(NamedTuple):
    """A mail of ours came back, or will be late (`permanent` False). `key` is its page's, `returned` what only the
    mail itself bears; `detail` names nobody's address.
    """

    key: str
    permanent: bool
    detail: str
    returned: str


class Reply(NamedTuple):
    """A person's own answer; `code` as they wrote it, `sender` the address that the mail says it is from."""

    code: str
    sender: str


class Ignored(NamedTuple):
    """Nothing that counts, and why."""

    why: str


def read_mail(content: bytes) -> Bounce | Reply | Ignored:
    """What a mail says; it is read as far as its first `MAX_READ` bytes. Never raises: what is not understood is
    ignored, and said to be.
    """
    mail = mime.read_part(content)
    return _report(mail) if mail.kind == "multipart/report" else _reply(mail)


# ---- reports -------------------------------------------------------------------------------------------------


def _report(mail: Part) -> Bounce | Ignored:
    found = {"status": "", "original": ""}
    for part in mime.parts(mail):
        if part.kind in _REPORT:
            found["status"] = found["status"] or mime.text_of(part)
        elif part.kind in _ORIGINAL:
            found["original"] = found["original"] or mime.text_of(part).partition("\n\n")[0]
    if not found["status"]:
        return Ignored("it reports something else than whether a mail arrived")
    original = mime.read_headers(found["original"])
    ours = _OUR_ID.fullmatch(next(iter(original.get("message-id", ())), "").strip())
    if ours is None:
        return Ignored("what came back was not sent from here")
    returned = next(iter(original.get(RETURNED.lower(), ())), "").strip()
    return _came_back(found["status"], ours[1], returned)


def _came_back(status: str, key: str, returned: str) -> Bounce | Ignored:
    """Each block of a report tells of one recipient; ours have one."""
    blocks = [mime.read_headers(each) for each in status.split("\n\n")[:10]]
    said = [(_one(each, "action").lower(), each) for each in blocks if "action" in each]
    failed = [each for action, each in said if action == "failed"]
    if not failed and not any(action == "delayed" for action, _ in said):
        arrived = any(action in _ARRIVED for action, _ in said)
        return Ignored("it says that a mail arrived" if arrived else "it does not say what became of a mail")
    told = failed[0] if failed else next(each for action, each in said if action == "delayed")
    # Whatever its status says: a mail that failed is not tried again by whoever says so.
    why = _ANY_ADDRESS.sub("the recipient", _PROTOCOL.sub("", _one(told, "diagnostic-code")))
    status_code = clean_line(_one(told, "status"), 20)
    return Bounce(key, bool(failed), clean_line(f"{status_code} {why}".strip() or "no reason given", 200), returned)


def _one(headers: dict[str, tuple[str, ...]], name: str) -> str:
    return next(iter(headers.get(name, ())), "").strip()


# ---- answers -------------------------------------------------------------------------------------------------


def _reply(mail: Part) -> Reply | Ignored:
    automatic = mail.first("auto-submitted").partition(";")[0].strip().lower()
    if automatic not in ("", "no") or {"x-autoreply", "x-autorespond", "x-autoresponse"} & mail.headers.keys():
        return Ignored("it was sent automatically")
    if mail.first("precedence").lower() in _TO_MANY or "list-id" in mail.headers:
        return Ignored("it was sent to many, or automatically")
    if mail.first("return-path") == "<>":
        return Ignored("nobody can be answered: it is a notice")
    sender = _sender(mail.headers.get("from", ()))
    if sender is None:
        return Ignored("it does not say from whom it is")
    written = [part for part in mime.parts(mail) if not part.attached]
    for kind in ("text/plain", "text/html"):
        for part in written:
            if part.kind == kind:
                return _answer(mime.text_of(part), sender)
    return Ignored("it has no text")


def _answer(text: str, sender: str) -> Reply | Ignored:
    first = next((line for line in text.splitlines() if line.strip()), "").strip().translate(_DASHES)
    found = _ANSWER.fullmatch(first[:200])
    return Ignored("its first line is no answer") if found is None else Reply(found["code"], sender)


def _sender(values: tuple[str, ...]) -> str | None:
    """The one address that a mail is from, in lower case.

    Attack: an address in the name that stands before another one's.
    """
    if len(values) != 1:
        return None
    found = _SENDER.fullmatch(_NAMED.sub("", values[0]))
    return None if found is None else (found["named"] or found["bare"]).lower()
