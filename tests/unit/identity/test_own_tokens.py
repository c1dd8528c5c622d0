"""An agent's own token says who, to whom and for how long, and is signed by the agent's key and no other."""

from __future__ import annotations

import base64

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from failwell.core.errors import InputError
from failwell.identity import keys
from failwell.identity.own_tokens import LONGEST_S, make_token
from failwell.permits.tokens import thumbprint

KEY = keys.from_seed(bytes(range(32)))
AGENT, ORIGIN = "spiffe://shop.example/agent/refund-bot", "failwell.example/a1"


def parts(token: str) -> list[bytes]:
    return [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split(".")]


def test_an_agents_token_names_the_agent_the_ledger_and_the_key_and_its_signature_holds() -> None:
    token = make_token(KEY, AGENT, ORIGIN, issued_s=1_700_000_000, hours=2, jti="ab" * 16)
    head, claims, signature = parts(token)
    assert msgspec.json.decode(head) == {"alg": "EdDSA", "kid": thumbprint(KEY.public), "typ": "failwell-agent+jwt"}
    assert msgspec.json.decode(claims) == {
        "iss": AGENT, "aud": ORIGIN, "iat": 1_700_000_000, "exp": 1_700_007_200, "jti": "ab" * 16,
    }  # fmt: skip
    Ed25519PublicKey.from_public_bytes(KEY.public).verify(signature, token.rpartition(".")[0].encode())


@pytest.mark.parametrize("hours", [0, -1, 0.01, LONGEST_S / 3600 + 0.1, 1e6])
def test_no_token_lives_longer_than_a_day_or_shorter_than_a_minute(hours: float) -> None:
    with pytest.raises(InputError):
        make_token(KEY, AGENT, ORIGIN, issued_s=1_700_000_000, hours=hours, jti="ab" * 16)


def test_no_token_is_made_for_what_is_no_agents_name() -> None:
    with pytest.raises(InputError):
        make_token(KEY, "spiffe://shop.example/agent/Refund-Bot", ORIGIN, issued_s=1, hours=1, jti="ab" * 16)
