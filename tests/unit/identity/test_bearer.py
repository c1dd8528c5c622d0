"""Tokens of identity providers: which hold, and each way in which one does not."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.jwk import OctKey, RSAKey

from failwell.core.errors import InputError, Refused
from failwell.identity import bearer
from tests.unit.identity.tokens import AUDIENCE, ISSUER, SUBJECT, Provider, part

PROVIDER = Provider()
KEYS = bearer.parse_keys(PROVIDER.jwks())


def judge(token: str, **more: Any) -> bearer.Claims:
    given: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE, "now_us": time.time_ns() // 1000, "since_us": 0}
    return bearer.check_token(token, KEYS, **{**given, **more})


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_token_of_the_provider_holds(algorithm: str) -> None:
    assert judge(PROVIDER.token(algorithm)).subject == SUBJECT


NOW = int(time.time())
CLAIMS: dict[str, dict[str, Any]] = {
    "another provider's": {"iss": "https://evil.example"},
    "a provider's that begins so": {"iss": ISSUER + "/"},
    "for another audience": {"aud": "shop"},
    "for several audiences": {"aud": [AUDIENCE, "shop"]},
    "for no audience": {"aud": None},
    "expired": {"iat": NOW - 600, "exp": NOW - 1},
    "without an end": {"exp": None},
    "without a beginning": {"iat": None},
    "made in the future": {"iat": NOW + 7200, "exp": NOW + 7500},
    "not valid yet": {"nbf": NOW + 7200},
    "good for a day": {"exp": NOW + 86_400},
    "about nobody": {"sub": None},
    "about a number": {"sub": 7},
    "timed by text": {"exp": str(NOW + 300)},
    "timed by true": {"iat": True},
    "timed by a huge number": {"exp": 10**400},
    "named by a list": {"jti": ["a"]},
}


@pytest.mark.parametrize("what", CLAIMS)
def test_a_token_is_refused_that_is(what: str) -> None:
    with pytest.raises(Refused):
        judge(PROVIDER.token(**CLAIMS[what]))


def test_no_algorithm_is_taken_from_the_token() -> None:
    for token in (PROVIDER.unsigned(), PROVIDER.by_public_key()):
        with pytest.raises(Refused, match="algorithm"):
            judge(token)
    for odd in ("RS512", "PS256", "ES384", "None", "", 7, None, ["ES256"]):
        with pytest.raises(Refused):
            judge(PROVIDER.token(head={"alg": odd}))


def test_a_key_is_used_for_its_own_algorithm_only_and_never_brought_along() -> None:
    other = Provider()
    with pytest.raises(Refused):
        judge(PROVIDER.token("ES256", head={"kid": "r"}))
    with pytest.raises(Refused, match="no key"):
        judge(PROVIDER.token(head={"kid": "unknown"}))
    with pytest.raises(Refused, match="no key"):
        judge(PROVIDER.token(head={"kid": None}))
    with pytest.raises(Refused, match="signature"):
        judge(other.token())
    jwk = other.keys["ES256"].as_dict(private=False)
    brought: list[dict[str, Any]] = [
        {"jwk": jwk}, {"jku": "https://evil.example/keys"}, {"x5c": ["AAAA"]}, {"x5u": "https://evil.example"},
        {"crit": ["exp"]}, {"b64": False, "crit": ["b64"]},
    ]  # fmt: skip
    for head in brought:
        with pytest.raises(Refused, match="of its own"):
            judge(other.token(head=head))


def test_an_altered_token_is_refused_and_a_respelled_signature_is_no_new_token() -> None:
    token = PROVIDER.token("EdDSA")
    head, body, signature = token.split(".")
    claims = PROVIDER.claims(sub="somebody else")
    for odd in (
        f"{head}.{part(claims)}.{signature}", f"{head}.{body}.", f"{head}.{body}", f".{body}.{signature}", "", "..",
        f"{head}.{body}.{signature}.", f" {token}", token.replace(".", ",", 1), "é" + token, "A" * 20_000,
        f"{part([1])}.{body}.{signature}", f"{part(b'{')}.{body}.{signature}",
    ):  # fmt: skip
        with pytest.raises(Refused):
            judge(odd)
    # Attack: another spelling of the same signature, to be taken for a token that nobody has shown yet.
    twin = signature[:-1] + chr(ord(signature[-1]) + 1)
    with contextlib.suppress(Refused):
        assert judge(f"{head}.{body}.{twin}").digest == judge(token).digest


def test_what_was_made_before_the_node_started_is_refused() -> None:
    with pytest.raises(Refused, match="older"):
        judge(PROVIDER.token(), since_us=(int(time.time()) + 1) * 1_000_000)


_SHORT = rsa.generate_private_key(65537, 1024).public_key().public_numbers()
SHORT = {"kty": "RSA", "kid": "w", "e": "AQAB", "n": part(_SHORT.n.to_bytes(128, "big"))}
SETS: dict[str, Any] = {
    "no JSON": "{",
    "no set": "[]",
    "an empty one": {"keys": []},
    "a secret in it": {"keys": [OctKey.generate_key(256, {"kid": "s"}).as_dict(private=True)]},
    "a private key in it": {"keys": [RSAKey.generate_key(2048, {"kid": "p"}).as_dict(private=True)]},
    "two keys of one id": {"keys": [PROVIDER.keys["ES256"].as_dict(private=False)] * 2},
    "a short key alone": {"keys": [SHORT]},
    "keys for encryption alone": {"keys": [{**PROVIDER.keys["ES256"].as_dict(private=False), "use": "enc"}]},
}


@pytest.mark.filterwarnings("ignore:Key size should be")
@pytest.mark.parametrize("what", SETS)
def test_a_set_of_keys_is_refused_that_is(what: str) -> None:
    found = SETS[what]
    with pytest.raises(InputError):
        bearer.parse_keys(found if isinstance(found, str) else json.dumps(found))
