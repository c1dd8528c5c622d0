"""The bytes of one mail (RFC 5322, RFC 2045), made from text that an attacker may have written.

Subject and text can carry what an agent said: control characters and bidirectional overrides are taken out of
them, so that no line of the subject becomes a header and no text shows another way round than it is.
Everything else must be well formed or is refused. It does not wrap, translate or sign.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from failwell.core.errors import InputError
from failwell.ports.notifier import Mail

# The libraries are imported where a mail is made: who only checks an address, as commands do, starts sooner.
if TYPE_CHECKING:
    from email.headerregistry import Address
    from email.message import EmailMessage

MAX_SUBJECT: Final = 200
MAX_TEXT_BYTES: Final = 262_144
MAX_HEADER_VALUE: Final = 900
#: A header that nobody knows who has not seen the mail: what comes back with it was sent from here.
RETURNED: Final = "X-Failwell-Returned"
_PLAIN_LINE: Final = 900  # RFC 5321 4.5.3.1.6 allows 998; longer or non-ASCII lines go as quoted-printable

# Line separators and overrides of Unicode act like control characters in some mail programs.
_ODD: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
_ODD_IN_TEXT: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_MESSAGE_ID: Final = re.compile(r"<[A-Za-z0-9._+-]{1,120}@[A-Za-z0-9.-]{1,120}>")
_OWN_HEADER: Final = re.compile(r"X-Failwell-[A-Za-z0-9-]{1,40}|In-Reply-To|References|Importance")


def check_address(address: str, what: str) -> str:
    """The same address, if it is a plain ASCII one (RFC 5321 4.1.2, no quoted forms); raises InputError."""
    if len(address) > 254 or not _ADDRESS.fullmatch(address) or ".." in address or "=?" in address:
        raise InputError(f"{what}: {address[:80]!r} is not a mail address")
    return address


def clean_line(text: str, limit: int) -> str:
    """Text for one line: runs of control characters become one space, at most `limit` characters stay."""
    line = " ".join(_ODD.sub(" ", text).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def clean_text(text: str) -> str:
    """Text of several lines without control characters; line ends become line feeds."""
    return _ODD_IN_TEXT.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def build_message(mail: Mail, sender: str, now_us: int, answers: str | None = None) -> EmailMessage:
    """The message as sent: `sender` is the From address, `answers` where people answer to, if that is another one;
    `now_us` UTC in microseconds since 1970.

    Raises InputError for a malformed address, message id, header or size. Source: RFC 5322, RFC 3834
    section 5.
    """
    from email.message import EmailMessage
    from email.policy import SMTP

    from failwell.notify.letter_html import letter_html

    message = EmailMessage(policy=SMTP)
    message["From"] = _mailbox(sender, "sender")
    message["To"] = _mailbox(mail.to, "recipient")
    if answers is not None:
        message["Reply-To"] = _mailbox(answers, "address for answers")
    # Attack: an encoded word (RFC 2047) that decodes to line ends. The library decodes it and folds it out
    # as a header of its own, so no text may look like one.
    message["Subject"] = clean_line(mail.subject.replace("=?", "= ?"), MAX_SUBJECT)
    message["Date"] = datetime.fromtimestamp(now_us // 1_000_000, UTC)
    if not _MESSAGE_ID.fullmatch(mail.message_id):
        raise InputError(f"message id {mail.message_id[:80]!r} is not <local@domain>")
    message["Message-ID"] = mail.message_id
    message["Auto-Submitted"] = "auto-generated"  # so that no vacation note answers it
    message["X-Auto-Response-Suppress"] = "DR, RN, NRN, OOF, AutoReply"  # Exchange's own; what fails is still reported
    for name, value in mail.headers.items():
        message[_own_header(name, value)] = value
    text = clean_text(mail.text)
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise InputError(f"the text takes more than {MAX_TEXT_BYTES} bytes")
    plain = text.isascii() and all(len(line) <= _PLAIN_LINE for line in text.split("\n"))
    message.set_content(text, charset="utf-8", cte="7bit" if plain else "quoted-printable")
    html = letter_html(clean_line(mail.subject, MAX_SUBJECT), text, mail.link)
    message.add_alternative(html, subtype="html", charset="utf-8", cte="quoted-printable")
    return message


def _mailbox(address: str, what: str) -> Address:
    from email.errors import MessageError
    from email.headerregistry import Address

    try:
        return Address(addr_spec=check_address(address, what))
    except (MessageError, ValueError) as error:
        raise InputError(f"{what}: {address[:80]!r} is not a mail address") from error


def _own_header(name: str, value: str) -> str:
    if not _OWN_HEADER.fullmatch(name):
        raise InputError(f"header {name[:80]!r} is not one that a mail of ours carries")
    plain = value.isascii() and value.isprintable() and "=?" not in value
    if not plain or not 0 < len(value) <= MAX_HEADER_VALUE:
        raise InputError(f"header {name}: the value is not one line of printable ASCII")
    return name
