"""sigstore's own verification of a log entry, its inclusion proof and its checkpoint, run over our proofs.

Its models hold what Rekor answers; ours go in as such entries. It compares neither origins nor the names of keys, only
their ids: notes in which nothing else is wrong are not put to it.
"""

from __future__ import annotations

import random
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from failwell.core.errors import FailwellError
from failwell.core.note import Checkpoint, SignedNote, VerifierKey
from tests.peers.cases import Inclusion, all_faults, honest_cases
from tests.peers.conftest import need

pytestmark = pytest.mark.ci_must_run

Verify = Callable[[Inclusion], str]


@pytest.fixture(scope="module")
def sigstore_verifies() -> Verify:
    """Why sigstore rejects a case; nothing where it accepts it."""
    need("sigstore", "sigstore")
    from pydantic import ValidationError
    from sigstore._internal.merkle import verify_merkle_inclusion
    from sigstore._internal.rekor.checkpoint import verify_checkpoint
    from sigstore._internal.trust import Keyring, RekorKeyring
    from sigstore.errors import VerificationError
    from sigstore.models import TransparencyLogEntry
    from sigstore_models.common import v1 as common
    from sigstore_models.rekor import v1 as rekor

    def entry_of(case: Inclusion, size: int, root: bytes) -> Any:
        # Its models read JSON, where numbers and bytes are strings.
        proof: dict[str, Any] = {
            "log_index": str(case.index), "root_hash": b64encode(root), "tree_size": str(size),
            "hashes": [b64encode(each) for each in case.path],
        }  # fmt: skip
        fields: dict[str, Any] = {"log_index": str(case.index), "canonicalized_body": b64encode(case.entry)}
        inner = rekor.TransparencyLogEntry(
            log_id=common.LogId(key_id=b64encode(VerifierKey.parse(case.vkey).key_id)),
            kind_version=rekor.KindVersion(kind="failwell", version="1"),
            inclusion_proof=rekor.InclusionProof(**proof, checkpoint=rekor.Checkpoint(envelope=case.note.decode())),
            **fields,
        )
        return TransparencyLogEntry(inner)

    def keyring_of(case: Inclusion) -> Any:
        public = Ed25519PublicKey.from_public_bytes(VerifierKey.parse(case.vkey).public)
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        key = common.PublicKey(raw_bytes=b64encode(der), key_details=common.PublicKeyDetails.PKIX_ED25519)
        return RekorKeyring(Keyring([key]))

    def verify(case: Inclusion) -> str:
        try:
            said = Checkpoint.parse(SignedNote.parse(case.note).text)
        except FailwellError as error:
            return f"not put to sigstore: {error.message}"
        try:
            entry = entry_of(case, said.size, said.root)
            verify_checkpoint(keyring_of(case), entry)
            verify_merkle_inclusion(entry)
        except (VerificationError, ValidationError) as error:
            return str(error)
        return ""

    return verify


@pytest.mark.requirement("R13.22")
def test_sigstore_accepts_every_honest_proof_and_rejects_every_corrupted_one(
    sigstore_verifies: Verify, tmp_path: Path, rng: random.Random, seed: int
) -> None:
    cases = honest_cases(tmp_path, rng)
    honest = [case for case in cases if isinstance(case, Inclusion)]
    assert [why for why in map(sigstore_verifies, honest) if why] == []
    # Of the corrupted notes a fifth: Go's package sees them all.
    corrupted = [
        (fault, fault.case)
        for fault in all_faults(cases, rng)
        if isinstance(fault.case, Inclusion) and fault.what != "note: key name" and (fault.bare or rng.random() < 0.2)
    ]
    verdicts = [sigstore_verifies(case) for _, case in corrupted]
    missed = [fault for (fault, _), why in zip(corrupted, verdicts, strict=True) if not why]
    assert not missed, missed[0]
    put = Counter(why.startswith("not put to") for why in verdicts)
    assert put[False] >= 5_000
    assert put[True] <= 100
    assert len(honest) >= 250
    print(f"\nsigstore, seed {seed}: accepted {len(honest)}/{len(honest)} proofs, rejected {put[False]}/{put[False]}")
