"""What travels with a page so that it can be answered without a person's key: a signed token, and a code for a reply.

Both stand for one secret of 80 bits, derived from the key in `keys/answers.key` and the page, whose digest the record
holds from the attempt on that carried it. The token is a JWT (RFC 7519, 9864) that names page, incident, cycle, person
and purpose, and expires; the code is the secret itself in Crockford's base32. Who can read `keys/` can answer for
anybody; nobody can release, close or allow anything by it. To change the key, take it away while no node runs: what was
sent before is void then.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry

from failwell.core.errors import NotFound, Refused
from failwell.identity import keys

KEY_FILE: Final = "answers.key"
TYPE: Final = "page+jwt"
_ALGORITHM: Final = "Ed25519"  # RFC 9864; nobody else has to know it
PURPOSES: Final = ("acknowledge", "prove", "receive")
_LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SECRET_BYTES: Final = 10
_CODE: Final = re.compile(rf"[{_LETTERS}]{{16}}")
#: Letters that people write for others (Crockford).
_READ_AS: Final = str.maketrans({"O": "0", "I": "1", "L": "1"})
MAX_TOKEN: Final = 1024
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]{1,400}\.[A-Za-z0-9_-]{1,500}\.[A-Za-z0-9_-]{86}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What an answer is for. `incident` and `cycle` are 0 where it is about none; `number` is the digest's or the
    asking's entry there. `expires_us` is UTC in microseconds since 1970.
    """

    origin: str
    purpose: str
    page: int
    person: str
    incident: int
    cycle: int
    expires_us: int


class AnswerKeys:
    """Makes and reads answers of one workspace. Its text form shows no secret."""

    def __init__(self, key: keys.SigningKey, origin: str) -> None:
        raw = key.private.private_bytes(
            serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
        )
        self._origin = origin
        self._private = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": _text(key.public), "d": _text(raw)})
        self._seed = hashlib.sha256(b"failwell/answers/1\n" + raw).digest()
        self._registry = JWSRegistry(algorithms=[_ALGORITHM])

    def __repr__(self) -> str:
        return "AnswerKeys()"

    def code(self, page: int) -> str:
        """The code of a page: 16 letters, in groups of four."""
        said = hmac.new(self._seed, f"{self._origin}/{page}".encode(), hashlib.sha256).digest()
        number = int.from_bytes(said[:_SECRET_BYTES], "big")
        letters = "".join(_LETTERS[number >> shift & 31] for shift in range(75, -1, -5))
        return "-".join(letters[at : at + 4] for at in range(0, 16, 4))

    def digest(self, page: int) -> str:
        """What the record holds of a page's secret (SHA-256, hex)."""
        return digest_of(self.code(page))

    def returned(self, page: int) -> str:
        """What a page's mail bears and nobody else can make, by which it is known when it comes back."""
        said = hmac.new(self._seed, f"returned/{self._origin}/{page}".encode(), hashlib.sha256).hexdigest()
        return f"{page}-{said[:32]}"

    def token(self, claims: Claims) -> str:
        """The token of a link."""
        header = {"alg": _ALGORITHM, "typ": TYPE}
        body = {
            "iss": claims.origin, "sub": claims.person, "pur": claims.purpose, "page": claims.page,
            "inc": claims.incident, "cyc": claims.cycle, "exp": claims.expires_us // 1_000_000,
        }  # fmt: skip
        return jwt.encode(header, body, self._private, registry=self._registry)

    def read(self, token: str, now_us: int) -> Claims:
        """What a token says. Refused (code "answer-refused") for one that is not ours, or whose time is over."""
        if len(token) > MAX_TOKEN or not _COMPACT.fullmatch(token):
            raise _refused("this link was cut or changed on its way")
        try:
            found = jwt.decode(token, self._private, registry=self._registry)
        except (JoseError, ValueError, TypeError) as error:
            raise _refused("this link was not made by this workspace, or was changed on its way") from error
        claims = _claims(found.header, found.claims)
        if claims is None or claims.origin != self._origin:
            raise _refused("this link is not one of this workspace's")
        if claims.expires_us <= now_us:
            raise _refused("this link is too old")
        # Attack: a token under a second spelling of the same signature, to be used twice.
        if token != self.token(claims):
            raise _refused("this link was changed on its way")
        return claims


def open_keys(directory: Path, origin: str) -> AnswerKeys:
    """The keys of a workspace, made where there are none. InputError for a file that others could use."""
    path = directory / KEY_FILE
    try:
        key = keys.load_key(path)
    except NotFound:
        key = keys.generate()
        keys.save_key(path, key)
    return AnswerKeys(key, origin)


def read_code(text: str) -> str | None:
    """The code that a person wrote, as it was made; None where it is none."""
    letters = re.sub(r"[\s-]", "", text).upper().translate(_READ_AS)
    if not _CODE.fullmatch(letters):
        return None
    return "-".join(letters[at : at + 4] for at in range(0, 16, 4))


def digest_of(code: str) -> str:
    """SHA-256 (hex) of a code as the record holds it."""
    return hashlib.sha256(f"failwell/answer/1\n{code}".encode()).hexdigest()


def digest_of_code(text: str | None) -> str | None:
    """The digest of the code that a person wrote; None where it is none."""
    code = None if text is None else read_code(text)
    return None if code is None else digest_of(code)


def _claims(header: dict[str, Any], body: dict[str, Any]) -> Claims | None:
    if header != {"alg": _ALGORITHM, "typ": TYPE}:
        return None
    wanted: dict[str, type] = {"iss": str, "sub": str, "pur": str, "page": int, "inc": int, "cyc": int, "exp": int}
    if set(body) != set(wanted) or any(type(body[name]) is not kind for name, kind in wanted.items()):
        return None
    if body["pur"] not in PURPOSES:
        return None
    return Claims(
        origin=body["iss"], purpose=body["pur"], page=body["page"], person=body["sub"], incident=body["inc"],
        cycle=body["cyc"], expires_us=body["exp"] * 1_000_000,
    )  # fmt: skip


def _refused(why: str) -> Refused:
    return Refused(why, code="answer-refused", hint="failwell incident acknowledge N takes it with your key.")


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
