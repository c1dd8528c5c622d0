"""What others attest: witnesses' cosignatures, and time stamps of an authority that is made here with openssl."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from failwell.core import cosignature
from failwell.identity import keys
from failwell.offline import attested
from tests.unit.offline.conftest import Verify
from tests.unit.verify.forgery import Image

SECONDS = 1_800_000_000


def witness(seed: int) -> tuple[cosignature.CosignerKey, keys.SigningKey]:
    key = keys.from_seed(bytes([seed]) * 32)
    return cosignature.CosignerKey(f"witness.example/{seed}", key.public), key


def cosigned(note: bytes, *seeds: int, at: int = SECONDS) -> bytes:
    pairs = [witness(seed) for seed in seeds]
    return cosignature.add(note, *(cosignature.cosign(note, key, at, private.sign) for key, private in pairs))


@pytest.fixture
def kept(workspace: Path, tmp_path: Path) -> Path:
    path = tmp_path / "kept.note"
    path.write_bytes(cosigned(Image(workspace).checkpoint, 1, 2))
    return path


def vkeys(path: Path, *seeds: int) -> Path:
    path.write_text("# who watches\n\n" + "".join(f"{witness(seed)[0].text()}\n" for seed in seeds))
    return path


# ---- witnesses ---------------------------------------------------------------------------------------------------


def test_a_witness_that_cosigned_is_named_with_size_and_time(
    workspace: Path, kept: Path, tmp_path: Path, verify: Verify
) -> None:
    size = Image(workspace).size
    for own in ((), ("--own-ed25519",)):
        run = verify(workspace, "--checkpoint", kept, "--witness", vkeys(tmp_path / "w", 1, 2), "--json", *own)
        assert run.code == 0
        assert [step["state"] for step in run.told["attested"]] == ["proved", "proved"]
        assert run.told["attested"][0]["detail"] == f"over {size} entries, at 2027-01-15T08:00:00Z"


def test_a_witness_that_did_not_cosign_is_not_proved(
    workspace: Path, kept: Path, tmp_path: Path, verify: Verify
) -> None:
    run = verify(workspace, "--checkpoint", kept, "--witness", vkeys(tmp_path / "w", 1, 3), "--json")
    assert run.code == 1
    assert [step["state"] for step in run.told["attested"]] == ["proved", "not proved"]
    assert not run.told["ok"]
    assert "THE RECORD DOES NOT VERIFY" in verify(workspace, "--witness", vkeys(tmp_path / "w", 1)).out


def test_a_cosignature_over_another_head_or_by_another_key_does_not_hold(
    workspace: Path, tmp_path: Path, verify: Verify
) -> None:
    note = Image(workspace).checkpoint
    line = cosigned(note, 1).splitlines(keepends=True)[-1]
    head = (note.splitlines(keepends=True), tmp_path / "forged.note")
    forged = cosigned(note, 2).replace(b"witness.example/2", b"witness.example/1")
    other_time = cosigned(note, 1, at=SECONDS + 1).splitlines(keepends=True)[-1]
    swapped = bytearray(line)
    swapped[-20] ^= 1
    for bad in (forged, b"".join(head[0]) + bytes(swapped), b"".join(head[0]) + line[:40] + other_time[40:]):
        head[1].write_bytes(bad)
        run = verify(workspace, "--checkpoint", head[1], "--witness", vkeys(tmp_path / "w", 1))
        assert run.code in (1, 2), bad  # a note that cannot be read at all is wrong usage


@pytest.mark.parametrize("text", ["", "# none\n", "no key", "name+00000000+AAAA", "witness.example/1"])
def test_a_witness_file_without_a_good_key_is_wrong_usage(
    text: str, workspace: Path, tmp_path: Path, verify: Verify
) -> None:
    path = tmp_path / "w"
    path.write_text(text)
    assert verify(workspace, "--witness", path).code == 2
    path.write_text((workspace / "keys" / "log.pub").read_text())  # a log's key, not a witness's
    assert verify(workspace, "--witness", path).code == 2
    assert verify(workspace, "--witness", tmp_path / "absent").code == 2


# ---- time stamps -------------------------------------------------------------------------------------------------

CONFIG = """
[tsa]
default_tsa = one
[one]
serial = {place}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
"""


class Authority:
    """A time-stamp authority with a root certificate of its own, in a directory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        self.ask("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
                 "-subj", "/CN=root")  # fmt: skip
        self.ask(
            "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=stamper"
        )
        (place / "ext").write_text("extendedKeyUsage=critical,timeStamping\n")
        self.ask("x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                 "-extfile", "ext", "-out", "tsa.pem")  # fmt: skip
        (place / "tsa.cnf").write_text(CONFIG.format(place=place))
        (place / "serial").write_text("01\n")

    def ask(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.place, check=True, capture_output=True, timeout=60)

    def stamp(self, data: bytes, name: str, *, certificates: bool = True) -> Path:
        (self.place / "data").write_bytes(data)
        asked = ["ts", "-query", "-data", "data", "-sha256", "-out", "query.tsq"]
        self.ask(*asked, *(["-cert"] if certificates else []))
        self.ask("ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query.tsq", "-signer", "tsa.pem", "-inkey",
                 "tsa.key", "-out", name)  # fmt: skip
        return self.place / name


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("needs the `openssl` command: apt-get install openssl")
    return Authority(tmp_path_factory.mktemp("tsa") / "one")


@pytest.mark.ci_must_run
def test_a_time_stamp_over_the_records_head_or_a_kept_one_is_proved_with_its_time(
    workspace: Path, kept: Path, authority: Authority, verify: Verify
) -> None:
    ca = authority.place / "ca.pem"
    for note, extra in ((Image(workspace).checkpoint, ()), (kept.read_bytes(), ("--checkpoint", kept))):
        stamp = authority.stamp(note, "good.tsr")
        run = verify(workspace, "--timestamp", stamp, "--tsa-ca", ca, "--json", *extra)
        assert run.code == 0, run.out
        assert run.told["attested"][-1]["state"] == "proved"
        assert " GMT, over " in run.told["attested"][-1]["detail"]


@pytest.mark.ci_must_run
def test_a_time_stamp_over_something_else_or_by_somebody_else_is_not_proved(
    workspace: Path, authority: Authority, tmp_path: Path, verify: Verify
) -> None:
    note, ca = Image(workspace).checkpoint, authority.place / "ca.pem"
    good = authority.stamp(note, "good.tsr")
    mangled = tmp_path / "mangled.tsr"
    for at in (0, 40, -1):
        data = bytearray(good.read_bytes())
        data[at] ^= 1
        mangled.write_bytes(bytes(data))
        run = verify(workspace, "--timestamp", mangled, "--tsa-ca", ca, "--json")
        assert (run.code, run.told["attested"][0]["state"]) == (1, "not proved")
    for stamp, root in ((authority.stamp(note + b"\n", "other.tsr"), ca), (good, workspace / "keys" / "log.pub"),
                        (ca, ca)):  # fmt: skip
        run = verify(workspace, "--timestamp", stamp, "--tsa-ca", root, "--json")
        assert (run.code, run.told["attested"][0]["state"]) == (1, "not proved")
        assert run.told["attested"][0]["detail"].startswith("openssl: ")


def test_a_stranger_authority_is_not_believed(workspace: Path, authority: Authority, verify: Verify) -> None:
    stranger = Authority(authority.place.parent / "stranger")
    stamp = stranger.stamp(Image(workspace).checkpoint, "stranger.tsr")
    run = verify(workspace, "--timestamp", stamp, "--tsa-ca", authority.place / "ca.pem", "--json")
    assert (run.code, run.told["attested"][0]["state"]) == (1, "not proved")


def test_without_openssl_or_a_certificate_it_is_not_checkable_and_says_why(
    workspace: Path, tmp_path: Path, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp = tmp_path / "some.tsr"
    stamp.write_bytes(b"x")
    run = verify(workspace, "--timestamp", stamp, "--json")
    assert (run.code, run.told["attested"][0]["state"]) == (0, "not checkable")
    run = verify(workspace, "--timestamp", tmp_path / "absent", "--tsa-ca", stamp, "--json")
    assert "there is no file" in run.told["attested"][0]["detail"]
    monkeypatch.setenv("PATH", str(tmp_path))
    run = verify(workspace, "--timestamp", stamp, "--tsa-ca", stamp, "--json")
    assert (run.code, run.told["attested"][0]["state"]) == (0, "not checkable")
    assert "no `openssl` command" in run.told["attested"][0]["detail"]


def test_a_time_that_no_calendar_has_is_still_said() -> None:
    assert attested._utc(2**62).endswith("s after 1970")
