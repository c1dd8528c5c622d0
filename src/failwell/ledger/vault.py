"""The vault: what is personal, encrypted; what must be countable, as random tokens (D12, D13).

Each entry has at most one blob, under a key of its own, wrapped by the workspace's blob key: destroying the wrapped
key erases the blob and leaves every proof intact. Principals, customers and limit keys appear in entries as random
tokens; the map from value to token is kept here, found by HMAC under a key that never enters the ledger.
AES-256-GCM (NIST SP 800-38D) with random 96-bit nonces, one message per blob key; the entry's origin and number are
bound as associated data, so that a blob moved to another row does not open.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from failwell.core.errors import Corrupt
from failwell.core.records import BlobRef
from failwell.ports.storage import StoredBlob, StoredToken

_KEY_BYTES = 32
_NONCE_BYTES = 12
#: Tokens kept in memory before those go that the store can find again.
KEPT_TOKENS = 50_000

_ENCODER = msgspec.json.Encoder(order="sorted")


class Minted(NamedTuple):
    """A new token, before the entry that binds it has a number."""

    token: str
    lookup: bytes
    sealed: bytes


def commitment(salt: bytes, text: bytes) -> str:
    """SHA-256(salt || text) in hex: binds a text that lies in the blob, without telling it."""
    return hashlib.sha256(salt + text).hexdigest()


class Vault:
    """Seals and opens blobs, mints and finds tokens. `entropy(n)` gives n random bytes."""

    def __init__(self, blob_key: bytes, token_key: bytes, origin: str, entropy: Callable[[int], bytes]) -> None:
        self._wrap = AESGCM(blob_key)
        # A keyed copy, not hmac.digest: that one gives the interpreter away, and the writer waits to get it back.
        self._lookup = hmac.new(token_key, digestmod="sha256")
        self._origins: list[tuple[int, bytes]] = []
        self.name((0, origin))
        self._entropy = entropy
        self._tokens: dict[bytes, str] = {}
        self._older: dict[bytes, str] = {}
        self._older_than = 0
        self._stored: Callable[[bytes], str | None] | None = None

    def name(self, *origins: tuple[int, str]) -> None:
        """Tell the names of the log, oldest first, each with the entry from which it holds: blobs are bound to them."""
        self._origins = [(first, origin.encode()) for first, origin in origins]

    def _bound_to(self, seq: int) -> bytes:
        first, origin = self._origins[-1]
        if seq < first:
            origin = next(origin for first, origin in reversed(self._origins) if first <= seq)
        return b"%s\n%d" % (origin, seq)

    def seal(self, seq: int, secret: dict[str, Any]) -> tuple[StoredBlob, BlobRef]:
        """Encrypt `secret` for entry `seq`; returns the row and the digests that the entry carries."""
        random = self._entropy(_KEY_BYTES + 2 * _NONCE_BYTES)
        key, nonce, wrap_nonce = random[:_KEY_BYTES], random[_KEY_BYTES:-_NONCE_BYTES], random[-_NONCE_BYTES:]
        bound = self._bound_to(seq)
        ciphertext = nonce + AESGCM(key).encrypt(nonce, _ENCODER.encode(secret), bound)
        wrapped = wrap_nonce + self._wrap.encrypt(wrap_nonce, key, bound)
        reference = BlobRef(ciphertext=hashlib.sha256(ciphertext).hexdigest(), key=hashlib.sha256(wrapped).hexdigest())
        return StoredBlob(seq, ciphertext, wrapped), reference

    def open(self, blob: StoredBlob) -> dict[str, Any]:
        """The secret of a blob; Corrupt when row, key or entry number do not belong together."""
        bound = self._bound_to(blob.seq)
        try:
            key = self._wrap.decrypt(blob.wrapped[:_NONCE_BYTES], blob.wrapped[_NONCE_BYTES:], bound)
            text = AESGCM(key).decrypt(blob.ciphertext[:_NONCE_BYTES], blob.ciphertext[_NONCE_BYTES:], bound)
        except (InvalidTag, ValueError) as error:
            raise Corrupt(f"the blob of entry {blob.seq} does not open with this workspace's key") from error
        secret: dict[str, Any] = msgspec.json.decode(text)
        return secret

    # -- tokens ------------------------------------------------------------------------------------------------

    def load(self, newest: Iterable[StoredToken], stored: Callable[[bytes], str | None] | None = None) -> None:
        """Begin with the `newest` tokens; what they lack is asked of `stored` by its lookup key."""
        self._tokens = {row.lookup: row.token for row in newest}
        self._older, self._older_than = {}, 0
        self._stored = stored

    def ask(self, stored: Callable[[bytes], str | None] | None) -> None:
        """From now on ask `stored` for what memory lacks."""
        self._stored = stored

    def settle(self, reached: int, size: int) -> None:
        """Let go of tokens in two ages: `stored` finds all that were bound before entry `reached` of `size`."""
        if len(self._tokens) > KEPT_TOKENS and reached >= self._older_than:
            self._older, self._older_than, self._tokens = self._tokens, size, {}

    def _known(self, lookup: bytes) -> str | None:
        found = self._tokens.get(lookup) or self._older.get(lookup)
        if found is None and self._stored is not None:
            found = self._stored(lookup)
            if found is not None:
                self._tokens[lookup] = found
        return found

    def find(self, kind: str, value: str) -> tuple[str | None, bytes]:
        """(the token of `value` among `kind`, or None; its lookup key)."""
        keyed = self._lookup.copy()
        keyed.update(f"{kind}\0{value}".encode())
        lookup = keyed.digest()[:16]
        return self._known(lookup), lookup

    def mint(self, kind: str, value: str, lookup: bytes) -> Minted:
        """A fresh random token for `value`; it counts only once `learn` is called with it."""
        random = self._entropy(16 + _NONCE_BYTES)
        token = f"{kind[0]}-{random[:16].hex()}"
        nonce = random[16:]
        sealed = nonce + self._wrap.encrypt(nonce, f"{kind}\0{value}".encode(), token.encode())
        return Minted(token, lookup, sealed)

    def learn(self, minted: Iterable[Minted]) -> None:
        for item in minted:
            self._tokens[item.lookup] = item.token

    def reveal(self, stored: StoredToken) -> tuple[str, str]:
        """(kind, value) that a token stands for."""
        nonce, sealed = stored.sealed[:_NONCE_BYTES], stored.sealed[_NONCE_BYTES:]
        try:
            kind, _, value = self._wrap.decrypt(nonce, sealed, stored.token.encode()).decode().partition("\0")
        except InvalidTag as error:
            raise Corrupt(f"token row {stored.id} does not open with this workspace's key") from error
        return kind, value
