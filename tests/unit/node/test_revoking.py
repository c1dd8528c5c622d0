"""Whether access is gone is the vendor's word alone: everything else is unconfirmed (D25)."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from failwell.core.errors import InputError
from failwell.node.revoking import Commands, Revoked
from failwell.node.settings import RevocationSettings, parse_settings, settings_from_text, settings_text

AGENT = "spiffe://shop.example/agent/vendor-bot"


def command(code: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", code)


def revoke(tmp_path: Path, declared: RevocationSettings | None) -> Revoked:
    return Commands().revoke(declared, AGENT, 7, tmp_path)


FINE = command("pass")


@pytest.mark.requirement("R32.4")
def test_access_is_gone_when_its_vendor_says_so_and_not_before(tmp_path: Path) -> None:
    gone = revoke(tmp_path, RevocationSettings(command=FINE, confirm=FINE))
    assert (gone.confirmed, gone.method) == (True, "confirm")
    kept = revoke(tmp_path, RevocationSettings(command=FINE, confirm=command("raise SystemExit(1)")))
    assert (kept.confirmed, kept.detail) == (False, "the confirm command ended with 1")
    alone = revoke(tmp_path, RevocationSettings(command=FINE))
    assert not alone.confirmed, "that the command ended is no word of its vendor's"
    assert not revoke(tmp_path, None).confirmed


def test_an_answer_is_a_whole_line_that_was_declared(tmp_path: Path) -> None:
    def said(text: str, code: int = 0) -> bool:
        said = command(f"print({text!r}); raise SystemExit({code})")
        return revoke(tmp_path, RevocationSettings(command=said, answer="revoked")).confirmed

    assert said("ok\nrevoked\n")
    assert not said("not revoked")
    assert not said("revoked", 1)
    assert not said("")


def test_a_vendor_that_hangs_or_is_not_there_confirms_nothing(tmp_path: Path) -> None:
    """Attack: the confirmation never ends, and leaves a child that never ends."""
    hangs = command("import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'input()']); time.sleep(60)")
    began = time.monotonic()
    late = revoke(tmp_path, RevocationSettings(command=FINE, confirm=hangs, deadline_ms=300))
    assert (late.confirmed, late.detail) == (False, "the confirm command gave no answer within 0.3 s")
    assert time.monotonic() - began < 30
    missing = revoke(tmp_path, RevocationSettings(command=FINE, confirm=("/nowhere/vendor",)))
    assert (missing.confirmed, missing.detail) == (False, "the confirm command could not be run: FileNotFoundError")


def test_the_command_learns_whom_it_is_about_and_nothing_of_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENDOR_TOKEN", "secret")
    tells = command("import os; print(sorted(name for name in os.environ if 'FAILWELL' in name or 'VENDOR' in name))")
    told = revoke(tmp_path, RevocationSettings(command=tells))
    assert told.words == "['FAILWELL_AGENT', 'FAILWELL_INCIDENT']\n"


def test_settings_of_an_earlier_release_stay_what_they_were() -> None:
    plain = parse_settings("")
    assert "revocation" not in settings_text(plain), "an upgrade alone changes no settings in force"
    given = parse_settings('[revocation."vendor-bot"]\ncommand = ["/bin/true"]\nenv = {A = "1"}\n')
    assert settings_from_text(settings_text(given)) == given
    assert settings_from_text(settings_text(plain)) == plain
    for text in ("[revocation.x]\ncommand = []\n", '[revocation.x]\ncommand = ["a"]\ndeadline_ms = 0\n'):
        with pytest.raises(InputError):
            parse_settings(text)
