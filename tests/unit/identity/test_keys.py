"""Key files: their modes, their one creation, and RFC 8032's own vectors."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from failwell.core.errors import InputError, NotFound
from failwell.identity import keys
from failwell.ports.keys import Signing

# RFC 8032 7.1, tests 1 to 3: seed, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_signatures_are_those_of_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    key: Signing = keys.from_seed(bytes.fromhex(seed))
    assert key.public.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    assert keys.verify(key.public, bytes.fromhex(message), bytes.fromhex(signature))
    assert not keys.verify(key.public, bytes.fromhex(message) + b"x", bytes.fromhex(signature))


def test_a_key_id_is_the_first_16_hex_of_the_digest_of_the_public_key() -> None:
    public = bytes.fromhex(RFC_8032[0][1])
    assert keys.key_id(public) == "21fe31dfa154a261"
    assert keys.from_seed(bytes.fromhex(RFC_8032[0][0])).key_id == keys.key_id(public)


@pytest.mark.parametrize("public", [b"", b"x" * 31, b"x" * 33, b"\xff" * 32])
@pytest.mark.parametrize("signature", [b"", b"x" * 64, b"x" * 63])
def test_malformed_keys_and_signatures_verify_nothing(public: bytes, signature: bytes) -> None:
    assert not keys.verify(public, b"message", signature)


def test_a_key_in_memory_shows_no_secret() -> None:
    key = keys.from_seed(b"s" * 32)
    assert repr(key) == str(key) == f"SigningKey({key.key_id})"


def test_a_saved_key_is_0600_in_a_directory_of_0700_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "log.key"
    key = keys.generate()
    old = os.umask(0)
    try:
        keys.save_key(path, key)
    finally:
        os.umask(old)
    assert mode(path) == 0o600
    assert mode(path.parent) == mode(path.parent.parent) == 0o700
    assert keys.load_key(path).public == key.public
    assert os.listdir(path.parent) == ["log.key"]


def test_a_narrow_umask_does_not_make_a_key_unreadable(tmp_path: Path) -> None:
    old = os.umask(0o777)
    try:
        keys.save_secret(keys.private_directory(tmp_path) / "blob.key", b"s" * 32)
    finally:
        os.umask(old)
    assert keys.load_secret(tmp_path / "blob.key") == b"s" * 32


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "k" / "log.key"
    first = keys.generate()
    keys.save_key(path, first)
    with pytest.raises(InputError, match="never overwritten"):
        keys.save_key(path, keys.generate())
    assert keys.load_key(path).public == first.public
    assert os.listdir(path.parent) == ["log.key"]


def test_of_many_who_make_the_same_key_at_once_one_wins_whole(tmp_path: Path) -> None:
    path = tmp_path / "k" / "log.key"
    made = [keys.generate() for _ in range(8)]
    won: list[bytes] = []

    def make(key: keys.SigningKey) -> None:
        try:
            keys.save_key(path, key)
        except InputError:
            return
        won.append(key.public)

    threads = [threading.Thread(target=make, args=(key,)) for key in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [keys.load_key(path).public]
    assert os.listdir(path.parent) == ["log.key"]


def test_a_link_planted_where_the_key_goes_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    directory = keys.private_directory(tmp_path / "k")
    (directory / "log.key").symlink_to(target)
    with pytest.raises(InputError, match="already there"):
        keys.save_key(directory / "log.key", keys.generate())
    assert not target.exists()


@pytest.mark.parametrize("wrong", [0o640, 0o604, 0o660, 0o644, 0o601, 0o700, 0o620])
def test_a_key_others_can_use_is_refused_with_the_command_that_mends_it(tmp_path: Path, wrong: int) -> None:
    path = tmp_path / "k" / "a log.key"
    keys.save_key(path, keys.generate())
    path.chmod(wrong)
    for read in (keys.check_private, keys.load_key, keys.read_private):
        with pytest.raises(InputError, match=f"mode {wrong:04o}") as caught:
            read(path)
        assert caught.value.code == "key-permissions"
        assert caught.value.hint == f"chmod 600 '{path}'"
    path.chmod(0o600)
    keys.check_private(path)


def test_a_key_that_is_read_only_for_its_owner_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "k" / "log.key"
    keys.save_key(path, keys.generate())
    path.chmod(0o400)
    keys.check_private(path)


@pytest.mark.parametrize("wrong", [0o755, 0o770, 0o710, 0o702])
def test_a_directory_that_others_can_enter_is_refused(tmp_path: Path, wrong: int) -> None:
    path = tmp_path / "k" / "log.key"
    keys.save_key(path, keys.generate())
    path.parent.chmod(wrong)
    with pytest.raises(InputError, match="0700") as caught:
        keys.check_private(path)
    assert caught.value.hint == f"chmod 700 {path.parent}"
    with pytest.raises(InputError, match="0700"):
        keys.save_key(path.with_name("other.key"), keys.generate())
    assert not path.with_name("other.key").exists()


def test_a_link_a_pipe_and_a_directory_are_no_keys(tmp_path: Path) -> None:
    directory = keys.private_directory(tmp_path / "k")
    real = directory / "real.key"
    keys.save_key(real, keys.generate())
    (directory / "link.key").symlink_to(real)
    os.mkfifo(directory / "pipe.key", 0o600)
    (directory / "dir.key").mkdir(0o700)
    for name, message in (("link.key", "is a link"), ("pipe.key", "plain file"), ("dir.key", "plain file")):
        with pytest.raises(InputError, match=message):
            keys.check_private(directory / name)


def test_a_missing_key_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no key file"):
        keys.check_private(tmp_path / "log.key")
    with pytest.raises(NotFound, match="no directory"):
        keys.check_directory(tmp_path / "nowhere")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "k" / "log.key"
    keys.save_key(path, keys.generate())
    os.chown(path, 12345, 12345)
    with pytest.raises(InputError, match="belongs to user 12345") as caught:
        keys.check_private(path)
    assert caught.value.hint == f"chown 0 {path}"


def test_a_file_that_holds_another_thing_is_refused(tmp_path: Path) -> None:
    directory = keys.private_directory(tmp_path / "k")
    x25519 = X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    contents = {"empty": b"", "text": b"no key", "x25519": x25519, "long": b"x" * 20_000}
    for name, content in contents.items():
        keys.write_private(directory / name, content)
        with pytest.raises(InputError):
            keys.load_key(directory / name)
        with pytest.raises(InputError):
            keys.load_secret(directory / name)


def test_a_symmetric_key_has_32_bytes(tmp_path: Path) -> None:
    path = tmp_path / "k" / "blob.key"
    for size in (0, 16, 31, 33):
        with pytest.raises(InputError, match="32 bytes"):
            keys.save_secret(path, b"x" * size)
    assert not path.exists()
    keys.save_secret(path, b"x" * 32)
    assert mode(path) == 0o600
    assert keys.load_secret(path) == b"x" * 32
