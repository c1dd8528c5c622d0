"""Persons: a key under a passphrase, in their own directory, and what one user of the machine can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from failwell.core.errors import InputError, NotFound, Refused
from failwell.core.orders import AgentSuspend, Order
from failwell.identity import keys, persons
from failwell.identity.persons import NotSeparated, PersonKey

PASSPHRASE = "four words make it"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("config")
    PersonKey.create(directory, "ann", PASSPHRASE)
    return directory


def suspend(person: str) -> Order[Any]:
    return Order(
        order="agent.suspend",
        origin="failwell/5d41402abc4b2a76",
        person=person,
        nonce="0" * 32,
        at="2026-11-23T05:00:00.000000Z",
        shown="0" * 64,
        details=AgentSuspend(agent="refund-bot", reason="repeats notices"),
    )


def test_a_person_unlocks_their_key_and_signs(config: Path) -> None:
    ann = PersonKey.load(config, "ann")
    signer = ann.unlock(PASSPHRASE)
    signed = persons.sign_order(signer, suspend("ann"))
    assert signed.key == ann.key_id == keys.key_id(ann.public)
    assert persons.verify_order(signed, ann.public) == suspend("ann")


def test_the_key_file_is_0600_in_0700(config: Path) -> None:
    path = PersonKey.load(config, "ann").path
    assert path == config / "persons" / "ann.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_wrong_passphrase_is_refused_and_says_so(config: Path) -> None:
    with pytest.raises(Refused, match="does not open the key of ann") as caught:
        PersonKey.load(config, "ann").unlock("four words make")
    assert caught.value.code == "passphrase"
    assert caught.value.hint


@pytest.mark.parametrize("empty", ["", " ", "\t \n", "\u2003"])
def test_an_empty_passphrase_is_refused(config: Path, empty: str) -> None:
    with pytest.raises(InputError, match="empty passphrase"):
        PersonKey.create(config, "ben", empty)
    with pytest.raises(InputError, match="empty passphrase"):
        PersonKey.load(config, "ann").unlock(empty)
    assert not (config / "persons" / "ben.pem").exists()


def test_a_second_key_does_not_replace_the_first(config: Path) -> None:
    before = PersonKey.load(config, "ann").public
    with pytest.raises(InputError, match="never overwritten"):
        PersonKey.create(config, "ann", PASSPHRASE)
    assert PersonKey.load(config, "ann").public == before


def test_one_passphrase_typed_on_two_keyboards_is_one_passphrase(tmp_path: Path) -> None:
    made = PersonKey.create(tmp_path, "ann", "gr\u00fc\u00dfe aus z\u00fcrich")
    assert made.unlock("gru\u0308\u00dfe aus zu\u0308rich").key.public == made.public


def test_keys_are_listed_by_name_without_a_passphrase(config: Path, tmp_path: Path) -> None:
    assert [key.person for key in PersonKey.list(config)] == ["ann"]
    assert PersonKey.list(config)[0].public == PersonKey.load(config, "ann").public
    assert PersonKey.list(tmp_path) == []


def test_a_person_without_a_key_is_not_found(config: Path) -> None:
    with pytest.raises(NotFound):
        PersonKey.load(config, "ben")


@pytest.mark.parametrize("name", ["../ann", "a/b", "", ".", "..", "Ann", "ann ", "аnn", "a" * 64])  # noqa: RUF001
def test_what_is_no_name_reaches_no_file(config: Path, name: str) -> None:
    with pytest.raises(InputError, match="person"):
        PersonKey.create(config, name, PASSPHRASE)
    with pytest.raises(InputError, match="person"):
        PersonKey.load(config, name)


def test_a_key_file_others_can_read_is_not_used(tmp_path: Path) -> None:
    ann = PersonKey.create(tmp_path, "ann", PASSPHRASE)
    ann.path.chmod(0o644)
    with pytest.raises(InputError, match="0644"):
        ann.unlock(PASSPHRASE)
    with pytest.raises(InputError, match="0644"):
        PersonKey.load(tmp_path, "ann")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"failwell person key 1\n",
        b"failwell person key 2\nscrypt AAAA\nx",
    ],
)
def test_a_file_that_is_no_key_file_is_refused(tmp_path: Path, content: bytes) -> None:
    keys.write_private(tmp_path / "persons" / "ann.pem", content)
    with pytest.raises(InputError, match="not a person's key file"):
        PersonKey.load(tmp_path, "ann")


def test_a_signer_shows_no_secret(config: Path) -> None:
    signer = PersonKey.load(config, "ann").unlock(PASSPHRASE)
    assert repr(signer) == f"Signer(person='ann', key=SigningKey({signer.key.key_id}))"


# ---- separation ------------------------------------------------------------------------------------------


def files(tmp_path: Path, *names: str) -> list[Path]:
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.write_bytes(b"")
        path.chmod(0o600)
    return paths


def test_two_persons_under_one_user_are_not_separated(tmp_path: Path) -> None:
    paths = files(tmp_path, "ann", "ben")
    found = persons.keys_not_separated(paths)
    assert found.shared == (NotSeparated(os.geteuid(), tuple(paths)),)
    assert found.unknown == ()


def test_one_person_alone_is_separated(tmp_path: Path) -> None:
    assert persons.keys_not_separated(files(tmp_path, "ann")).shared == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_two_persons_under_two_users_are_separated_until_one_file_is_open(tmp_path: Path) -> None:
    ann, ben = files(tmp_path, "ann", "ben")
    os.chown(ben, 12345, 12345)
    assert persons.keys_not_separated([ann, ben]).shared == ()
    ben.chmod(0o644)
    assert persons.keys_not_separated([ann, ben]).shared == (NotSeparated(os.geteuid(), (ann, ben)),)


def test_two_keys_open_to_all_are_not_separated_from_anybody(tmp_path: Path) -> None:
    paths = files(tmp_path, "ann", "ben")
    for path in paths:
        path.chmod(0o644)
    assert persons.keys_not_separated(paths).shared == (NotSeparated(None, tuple(paths)),)


def test_a_key_that_cannot_be_looked_at_is_unknown_not_fine(tmp_path: Path) -> None:
    (ann,) = files(tmp_path, "ann")
    gone = tmp_path / "ben"
    assert persons.keys_not_separated([ann, gone]).unknown == (gone,)
