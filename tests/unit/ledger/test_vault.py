"""The vault: what is personal opens with the workspace's keys at its own entry, and nowhere else."""

from __future__ import annotations

import hashlib
import random

import pytest

from failwell.core.errors import Corrupt
from failwell.core.tokens import token_digest
from failwell.ledger.vault import Vault, commitment
from failwell.ports.storage import StoredBlob, StoredToken

SECRET = {"arguments": '{"iban":"DE02"}', "salt": "00"}


@pytest.fixture
def vault(rng: random.Random) -> Vault:
    return Vault(b"b" * 32, b"t" * 32, "failwell/one", rng.randbytes)


def test_a_blob_opens_again_and_its_entry_binds_ciphertext_and_key(vault: Vault) -> None:
    stored, reference = vault.seal(7, SECRET)
    assert vault.open(stored) == SECRET
    assert hashlib.sha256(stored.ciphertext).hexdigest() == reference.ciphertext
    assert hashlib.sha256(stored.wrapped).hexdigest() == reference.key
    assert b"DE02" not in stored.ciphertext + stored.wrapped


def test_the_same_secret_is_never_sealed_to_the_same_bytes(vault: Vault) -> None:
    assert len({vault.seal(7, SECRET)[0].ciphertext for _ in range(20)}) == 20


def test_a_blob_moved_to_another_entry_or_ledger_does_not_open(vault: Vault, rng: random.Random) -> None:
    stored, _ = vault.seal(7, SECRET)
    with pytest.raises(Corrupt):
        vault.open(stored._replace(seq=8))
    with pytest.raises(Corrupt):
        Vault(b"b" * 32, b"t" * 32, "failwell/two", rng.randbytes).open(stored)


def test_a_blob_whose_key_was_destroyed_exchanged_or_altered_does_not_open(vault: Vault) -> None:
    stored, _ = vault.seal(7, SECRET)
    other, _ = vault.seal(7, {"other": 1})
    for broken in (
        stored._replace(wrapped=b""),
        stored._replace(wrapped=other.wrapped),
        stored._replace(ciphertext=other.ciphertext),
        stored._replace(ciphertext=stored.ciphertext[:-1]),
        StoredBlob(7, b"", b""),
    ):
        with pytest.raises(Corrupt):
            vault.open(broken)


def test_a_wrong_workspace_key_opens_nothing(vault: Vault, rng: random.Random) -> None:
    stored, _ = vault.seal(7, SECRET)
    with pytest.raises(Corrupt):
        Vault(b"x" * 32, b"t" * 32, "failwell/one", rng.randbytes).open(stored)


def test_a_token_stands_for_one_value_of_one_kind_and_is_random(vault: Vault) -> None:
    none, lookup = vault.find("customer", "8841")
    assert none is None
    minted = vault.mint("customer", "8841", lookup)
    assert vault.find("customer", "8841")[0] is None  # it counts only once its entry is written
    vault.learn([minted])
    assert vault.find("customer", "8841")[0] == minted.token
    assert vault.find("principal", "8841")[0] is None
    assert vault.mint("customer", "8841", lookup).token != minted.token
    assert "8841" not in minted.token


def test_a_lookup_key_tells_nothing_without_the_token_key(vault: Vault, rng: random.Random) -> None:
    other = Vault(b"b" * 32, b"u" * 32, "failwell/one", rng.randbytes)
    assert other.find("customer", "8841")[1] != vault.find("customer", "8841")[1]


def test_kind_and_value_cannot_be_shifted_into_each_other(vault: Vault) -> None:
    assert vault.find("a", "b\0c")[1] != vault.find("a\0b", "c")[1] or "\0" in "a\0b"
    assert vault.find("limit", "ab")[1] != vault.find("limita", "b")[1]


def test_a_stored_token_reveals_its_value_only_in_its_own_row(vault: Vault) -> None:
    minted = vault.mint("customer", "Örsted & søn", vault.find("customer", "x")[1])
    row = StoredToken(1024, *minted)
    assert vault.reveal(row) == ("customer", "Örsted & søn")
    for broken in (row._replace(token="c-" + "0" * 32), row._replace(sealed=row.sealed[:-1])):
        with pytest.raises(Corrupt):
            vault.reveal(broken)


def test_tokens_are_found_again_after_a_start(vault: Vault, rng: random.Random) -> None:
    minted = vault.mint("customer", "8841", vault.find("customer", "8841")[1])
    again = Vault(b"b" * 32, b"t" * 32, "failwell/one", rng.randbytes)
    again.load([StoredToken(1024, *minted)])
    assert again.find("customer", "8841")[0] == minted.token


def test_the_digest_of_a_token_row_covers_each_of_its_fields() -> None:
    base = ("c-" + "0" * 32, b"l" * 16, b"sealed")
    changed = [("c-" + "1" * 32, *base[1:]), (base[0], b"m" * 16, base[2]), (*base[:2], b"sealee")]
    assert len({token_digest(*each) for each in (base, *changed)}) == 4


def test_a_commitment_is_of_salt_and_text_together() -> None:
    assert commitment(b"salt", b"text") == hashlib.sha256(b"salttext").hexdigest()
    assert commitment(b"salt", b"text") != commitment(b"sale", b"text")
