"""The fixed text formats of arguments, each to the one normal form that clauses and limits see, or None.

    id     ASCII, so that no look-alike passes for another one
    date   RFC 3339 full-date
    email  RFC 5321 mailbox without quoting, lower case
    url    http or https (RFC 3986) without user information, scheme and host in lower case
    path   POSIX path that stays below where it starts
    iban   ISO 13616 with checksum, without spaces

Nothing is fetched or resolved. Each check is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date

_ID = re.compile(r"[A-Za-z0-9#][A-Za-z0-9._:@+#-]{0,127}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EMAIL_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")
_HOST_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
# No "@" before the path and no backslash: https://shop.example@evil.example and
# https://shop.example\@evil.example are read as two different hosts by two different readers.
_URL = re.compile(r"([Hh][Tt][Tt][Pp][Ss]?)://([A-Za-z0-9.-]{1,253})(:[0-9]{1,5})?([/?#][!-\[\]-~]*)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")


def _normal_id(text: str) -> str | None:
    return text if _ID.fullmatch(text) else None


def _normal_date(text: str) -> str | None:
    if not _DATE.fullmatch(text):
        return None
    try:
        date.fromisoformat(text)
    except ValueError:
        return None
    return text


def _is_host(text: str) -> bool:
    return all(map(_HOST_LABEL.fullmatch, text.split(".")))


def _normal_email(text: str) -> str | None:
    local, _, domain = text.partition("@")
    if not _EMAIL_LOCAL.fullmatch(local) or local[0] == "." or local[-1] == "." or ".." in local:
        return None
    # One mailbox, one fact: no mail system in use tells A@shop.example from a@shop.example, and limits
    # must not.
    return text.lower() if "." in domain and _is_host(domain) else None


def _normal_url(text: str) -> str | None:
    match = _URL.fullmatch(text)
    if match is None or not _is_host(match[2]):
        return None
    return f"{match[1].lower()}://{match[2].lower()}{match[3] or ''}{match[4] or ''}"


def _normal_path(text: str) -> str | None:
    if not text or text[0] == "~" or "\\" in text or _CONTROL.search(text):
        return None
    segments = text.removeprefix("/").removesuffix("/").split("/")
    # Attack: /srv/public/../secret passes `like "/srv/public/*"`.
    if any(segment in ("", ".", "..") for segment in segments) and text != "/":
        return None
    return text


def _normal_iban(text: str) -> str | None:
    """ISO 13616: the letters as numbers from 10, the first four characters last, modulo 97 is 1."""
    compact = text.replace(" ", "").upper()
    if not compact.isascii() or not _IBAN.fullmatch(compact):
        return None
    digits = "".join(str(int(letter, 36)) for letter in compact[4:] + compact[:4])
    return compact if int(digits) % 97 == 1 else None


#: Format -> (normal form of a text or None, most characters).
FORMATS: dict[str, tuple[Callable[[str], str | None], int]] = {
    "id": (_normal_id, 128),
    "date": (_normal_date, 10),
    "email": (_normal_email, 254),
    "url": (_normal_url, 2048),
    "path": (_normal_path, 4096),
    "iban": (_normal_iban, 42),
}

_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_SEGMENT = r"(?!\.{1,2}(?:/|$))[^/\\\x00-\x1f\x7f-\x9f\u2028\u2029]+"
#: Format -> an expression that every text of the format matches as a whole, in the syntax that ECMA-262 and Python
#: share: what can be said of it to others. It takes more than the format does (30 February, a wrong checksum).
SHAPES: dict[str, str] = {
    "id": _ID.pattern,
    "date": "[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])",
    "email": rf"(?!\.)(?!.*\.\.)(?!.*\.@){_EMAIL_LOCAL.pattern}@{_LABEL}(?:\.{_LABEL})+",
    "url": rf"[Hh][Tt][Tt][Pp][Ss]?://{_LABEL}(?:\.{_LABEL})*(?::[0-9]{{1,5}})?(?:[/?#][!-\[\]-~]*)?",
    "path": rf"/|(?!~)/?{_SEGMENT}(?:/{_SEGMENT})*/?",
    "iban": r"[^\x00-\x1f!-/:-@\[-`{-\x7f]+",
}
