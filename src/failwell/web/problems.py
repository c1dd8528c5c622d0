"""What a caller is told that was not served: RFC 9457 problem documents, with our `code` and `hint`.

`type` is left out (about:blank): the status says what kind of failure it is, `code` exactly which one, `hint` what to
do. A verdict is no problem: DENY and ESCALATE are answers. It decides nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from failwell.core.errors import Corrupt, FailwellError, InputError, NotFound, Refused, Unhealthy, Unreachable

MEDIA_TYPE = "application/problem+json"
#: How long whoever was turned away for the crowd should stay away, in seconds.
RETRY_S = 1
#: By class, where a code does not say it better.
_OF_KIND: tuple[tuple[type[FailwellError], HTTPStatus], ...] = (
    (InputError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Refused, HTTPStatus.FORBIDDEN),
    (Unhealthy, HTTPStatus.SERVICE_UNAVAILABLE),
    (Unreachable, HTTPStatus.SERVICE_UNAVAILABLE),
    (Corrupt, HTTPStatus.INTERNAL_SERVER_ERROR),
)
_OF_CODE = {
    "answer-refused": HTTPStatus.FORBIDDEN,
    "malformed": HTTPStatus.BAD_REQUEST,
    "unauthenticated": HTTPStatus.UNAUTHORIZED,
    "not-open": HTTPStatus.CONFLICT,
    "fenced": HTTPStatus.CONFLICT,
    "replayed": HTTPStatus.CONFLICT,
    "too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "media-type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "method": HTTPStatus.METHOD_NOT_ALLOWED,
    "headers": HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "slow": HTTPStatus.REQUEST_TIMEOUT,
    "crowded": HTTPStatus.TOO_MANY_REQUESTS,
    "rate": HTTPStatus.TOO_MANY_REQUESTS,
    "busy": HTTPStatus.CONFLICT,
    "blocked": HTTPStatus.CONFLICT,
    "under-way": HTTPStatus.CONFLICT,
    "repeated": HTTPStatus.CONFLICT,
}


class Problem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What went wrong (`detail`), and what a person should do next (`hint`), where there is something.

    `entry` and `ticket` are numbers in the record, where it has any of this.
    """

    title: str
    status: int
    detail: str
    code: str
    hint: str | None = None
    entry: int | None = None
    ticket: int | None = None


def status_of(error: FailwellError) -> HTTPStatus:
    """The status that says what kind of failure it is; what nobody foresaw is ours."""
    found = _OF_CODE.get(error.code)
    if found is not None:
        return found
    return next((status for kind, status in _OF_KIND if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)


def problem_of(error: FailwellError, *, entry: int | None = None, ticket: int | None = None) -> Problem:
    """The document that tells `error`."""
    status = status_of(error)
    return Problem(
        title=status.phrase, status=status.value, detail=error.message, code=error.code, hint=error.hint, entry=entry,
        ticket=ticket,
    )  # fmt: skip


def headers_of(problem: Problem) -> Mapping[str, str]:
    """What goes with a problem besides its document."""
    if problem.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return {"retry-after": str(RETRY_S)}
    if problem.status == HTTPStatus.UNAUTHORIZED:
        return {"www-authenticate": 'Signature realm="failwell", Bearer realm="failwell"'}
    return {}


def encode(problem: Problem) -> bytes:
    """The document's text."""
    return msgspec.json.encode(problem)
