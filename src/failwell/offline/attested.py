"""What others say about a signed head: witnesses' cosignatures (C2SP tlog-cosignature) and time stamps (RFC 3161).

Cosignatures are verified here. A time stamp is a CMS signature under X.509 certificates, which Python's standard
library cannot read: the system's `openssl ts` is asked where there is one, and where there is none the step is not
checkable. Whether a witness or an authority is independent of whoever kept the record is not for a program to say.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from failwell.core import cosignature, note
from failwell.core.errors import FailwellError, InputError
from failwell.verify.anchors import Anchor, VerifySignature
from failwell.verify.finding import NOT_CHECKABLE, NOT_PROVED, PROVED, Step

_OPENSSL_TIMEOUT_S: Final = 30
_STAMPED: Final = re.compile(r"^Time stamp: (.{1,60})$", re.MULTILINE)


def read_witnesses(text: str) -> tuple[cosignature.CosignerKey, ...]:
    """The vkeys (type 0x04) in a file, one a line; empty lines and lines from `#` on are passed over.

    Raises InputError for another line, and for a file without a key.
    """
    lines = [line.strip() for line in text.splitlines()]
    found = tuple(cosignature.CosignerKey.parse(line) for line in lines if line and not line.startswith("#"))
    if not found:
        raise InputError("there is no witness key in it", hint="One vkey a line: name+hexid+base64, of type 0x04.")
    return found


def check_witness(
    number: int, key: cosignature.CosignerKey, heads: Sequence[Anchor], verify: VerifySignature
) -> Step:  # fmt: skip
    """Whether this witness cosigned one of the heads, and if so the largest, and when."""
    says = f"witness {key.name} had seen the log grow to a head that is here (C2SP tlog-cosignature)"
    seen: list[tuple[int, int]] = []
    for head in heads:
        try:
            found = _cosigned(head.note, key, verify)
        except FailwellError as error:
            return Step(number=number, says=says, state=NOT_PROVED, detail=f"{head.source}: {error.message}")
        if found is not None:
            seen.append(found)
    if not seen:
        return Step(number=number, says=says, state=NOT_PROVED, detail="it cosigned none of them")
    size, timestamp = max(seen)
    return Step(number=number, says=says, state=PROVED, detail=f"over {size} entries, at {_utc(timestamp)}")


def _cosigned(
    data: bytes, key: cosignature.CosignerKey, verify: VerifySignature
) -> tuple[int, int] | None:  # fmt: skip
    """Size and time of a head that the witness cosigned, None where it did not; raises for a bad cosignature."""
    signed = note.SignedNote.parse(data)
    size = note.Checkpoint.parse(signed.text).size
    for each in signed.signatures:
        if (each.name, each.key_id) == (key.name, key.key_id):
            read = cosignature.Cosignature.read(each)
            if not verify(key.public, cosignature.message(signed.text, read.timestamp), read.signature):
                raise InputError("its cosignature does not verify")
            return size, read.timestamp
    return None


def _utc(timestamp: int) -> str:
    try:
        return datetime.fromtimestamp(timestamp, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return f"{timestamp} s after 1970"


# -------------------------------------------------------------------------------------------------- time stamps


def check_timestamp(number: int, stamp: Path, authority: Path | None, heads: Sequence[Anchor]) -> Step:
    """Whether `stamp` (a TimeStampResp) is over one of the heads' notes, under a certificate of `authority` (PEM)."""
    says = f"an authority's time stamp is over a head that is here (RFC 3161, {stamp})"

    def step(state: str, detail: str) -> Step:
        return Step(number=number, says=says, state=state, detail=detail)

    command = shutil.which("openssl")
    if command is None:
        return step(NOT_CHECKABLE, "there is no `openssl` command on this machine, and Python alone reads no CMS")
    if authority is None:
        return step(NOT_CHECKABLE, "no certificate of the authority was given (--tsa-ca FILE)")
    for path in (stamp, authority):
        if not path.is_file():
            return step(NOT_CHECKABLE, f"there is no file {path}")
    complaint = "there is no head to hold it against"
    for head in heads:
        complaint = _complaint(command, stamp, authority, head.note)
        if not complaint:
            return step(PROVED, f"{_time_of(command, stamp)}, over {head.source}")
    return step(NOT_PROVED, complaint)


def _complaint(command: str, stamp: Path, authority: Path, data: bytes) -> str:
    """What `openssl ts -verify` finds wrong; empty where it verifies."""
    with tempfile.NamedTemporaryFile(prefix="failwell-head-") as head:
        head.write(data)
        head.flush()
        # The authority's file may hold its whole chain: a stamp need not bring certificates.
        trusted = ["-CAfile", str(authority.absolute()), "-untrusted", str(authority.absolute())]
        files = ["-in", str(stamp.absolute()), *trusted, "-data", head.name]
        code, told = _ask([command, "ts", "-verify", *files])
    if code == 0:
        return ""
    # 40F7A8CE847F0000:error:17800067:time stamp routines:ts_check_imprints:message imprint mismatch:file:line:
    reasons = [fields[5] for line in told if len(fields := line.split(":")) > 6 and fields[1] == "error"]
    return f"openssl: {'; '.join(dict.fromkeys(reasons)) or 'it does not verify'}"[:300]


def _time_of(command: str, stamp: Path) -> str:
    _, told = _ask([command, "ts", "-reply", "-text", "-in", str(stamp.absolute())])
    found = _STAMPED.search("\n".join(told))
    return f"of {found[1]}" if found else "of a time that openssl does not tell"


def _ask(command: list[str]) -> tuple[int, list[str]]:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_OPENSSL_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, [f"0:error:0:::{type(error).__name__}:"]
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()
