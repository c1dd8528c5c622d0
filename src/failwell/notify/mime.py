"""The parts of a mail that came in (RFC 5322, RFC 2045, RFC 2046), read by hand and in time that grows with its size.

A stranger writes these bytes. Attack: headers, boundaries and address lists over which the library's parser works
for minutes, or until memory ends. So only the beginning is read, and of it only what is plainly there: a few parts, not
deep within each other, headers of a line or two, the usual alphabets. What is left out is as if it were not there.
"""

from __future__ import annotations

import binascii
import codecs
import contextlib
import html.parser
import itertools
import quopri
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

#: Whatever counts stands at the top: an answer is a first line, and a report comes before what it is about.
MAX_READ: Final = 262_144
MAX_TEXT: Final = 20_000
_MAX_HEAD: Final = 65_536
_MAX_VALUE: Final = 2_000
_MAX_PARTS: Final = 20
_MAX_DEPTH: Final = 5

_FOLD: Final = re.compile(r"\n[ \t]+")
_HEADER: Final = re.compile(r"([!-9;-~]{1,60}):[ \t]*(.*)")
_PARAMETER: Final = re.compile(r';\s*([a-z-]{1,40})\s*=\s*(?:"([^"\\\n]{0,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_CHARSETS: Final = re.compile(r"utf-?8|us-ascii|iso-8859-\d{1,2}|windows-125\d", re.IGNORECASE)
_BREAKS: Final = frozenset({"br", "p", "div", "li", "tr", "table", "blockquote", "hr", "h1", "h2", "h3", "body"})
_UNREAD: Final = frozenset({"head", "style", "script", "title", "blockquote"})


class Part(NamedTuple):
    """A mail, or a part of one. `headers` are unfolded, by name in lower case; `kind` is its type, as text/plain."""

    headers: dict[str, tuple[str, ...]]
    kind: str
    parameters: dict[str, str]
    body: bytes

    def first(self, name: str) -> str:
        """The first value of a header; "" without one."""
        return next(iter(self.headers.get(name, ())), "").strip()

    @property
    def attached(self) -> bool:
        return self.first("content-disposition").lower().startswith("attachment")


def read_part(content: bytes) -> Part:
    """Headers and body; a mail that is cut in the middle is read as far as it goes."""
    whole = content[:MAX_READ].replace(b"\r\n", b"\n")
    if whole.startswith(b"From "):  # the line that some put before a mail they hand on
        whole = whole.partition(b"\n")[2]
    # A part may have no headers at all: it begins with its empty line then.
    head, _, body = (b"", b"", whole[1:]) if whole.startswith(b"\n") else whole.partition(b"\n\n")
    headers = read_headers(head[:_MAX_HEAD].decode("utf-8", "replace"))
    said = next(iter(headers.get("content-type", ())), "text/plain")
    parameters = {each[1].lower(): each[2] or each[3] or "" for each in _PARAMETER.finditer(said)}
    return Part(headers, said.partition(";")[0].strip().lower(), parameters, body)


def read_headers(text: str) -> dict[str, tuple[str, ...]]:
    """Headers by name in lower case; each value is one line, and cut where it is longer than any that counts."""
    found: dict[str, tuple[str, ...]] = {}
    for line in _FOLD.sub(" ", text).split("\n"):
        header = _HEADER.fullmatch(line[:_MAX_VALUE])
        if header is not None:
            name = header[1].lower()
            found[name] = (*found.get(name, ())[:3], header[2])
    return found


def parts(mail: Part) -> Iterator[Part]:
    """The parts that are not made of parts, in their order. A mail within a mail is one part: nobody wrote it here."""
    waiting = [(mail, 0)]
    given = 0
    while waiting and given < _MAX_PARTS:
        part, depth = waiting.pop()
        given += 1
        if not part.kind.startswith("multipart/"):
            yield part
        elif depth < _MAX_DEPTH:
            waiting.extend((each, depth + 1) for each in reversed(_within(part)))


def _within(part: Part) -> list[Part]:
    boundary = part.parameters.get("boundary", "")
    if not 0 < len(boundary) <= 70 or not boundary.isascii():
        return []
    line = re.compile(rb"\n--" + re.escape(boundary.encode()) + rb"(--)?[ \t]*(?=\n|\Z)")
    _, *pieces = line.split(b"\n" + part.body, _MAX_PARTS)
    marked = zip(pieces[::2], pieces[1::2], strict=True)  # what marks the end has two more hyphens
    return [read_part(each[1:]) for _, each in itertools.takewhile(lambda each: each[0] is None, marked)]


def text_of(part: Part) -> str:
    """The first of its text, decoded; what cannot be is replaced. Of HTML it is what stands there to be read."""
    body = part.body[: MAX_TEXT * 4]
    encoding = part.first("content-transfer-encoding").lower()
    if encoding == "base64":
        body = _unbased(body)
    elif encoding == "quoted-printable":
        body = quopri.decodestring(body)
    charset = part.parameters.get("charset", "utf-8")
    # Attack: alphabets that unpack, or whose reading takes time that grows with the square of the text.
    text = body.decode(charset if _known(charset) else "ascii", "replace")[:MAX_TEXT]
    return _shown(text) if part.kind == "text/html" else text


def _known(charset: str) -> bool:
    if not _CHARSETS.fullmatch(charset):
        return False
    try:
        codecs.lookup(charset)
    except LookupError:
        return False
    return True


def _unbased(body: bytes) -> bytes:
    packed = re.sub(rb"[^A-Za-z0-9+/]", b"", body)
    try:
        return binascii.a2b_base64(packed + b"=" * (-len(packed) % 4))
    except binascii.Error:
        return b""


class _Shown(html.parser.HTMLParser):
    """Text of HTML as a reader sees it, without what is quoted."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._unread = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unread += tag in _UNREAD
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        self._unread = max(0, self._unread - (tag in _UNREAD))
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self._unread:
            self.found.append(data.replace("\n", " "))

    def _break(self, tag: str) -> None:
        if tag in _BREAKS:
            self.found.append("\n")


def _shown(text: str) -> str:
    shown = _Shown()
    with contextlib.suppress(AssertionError):  # the library's word for a declaration that it does not know
        shown.feed(text)
        shown.close()
    return "".join(shown.found)
