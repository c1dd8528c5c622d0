"""From the settings to channels: what is refused when they are saved, and what is read when a message goes out."""

from __future__ import annotations

import base64
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from failwell.core.errors import InputError
from failwell.identity import keys
from failwell.node.channels import KEY_FILE, channels_of, webhook_key
from failwell.node.settings import parse_settings, settings_from_text, settings_text
from failwell.ports.notifier import Channel, NotifyFailed
from tests import receivers
from tests.receivers import receiving
from tests.unit.notify.test_channels import CLOCK, message

PAGER = """[channels.pager]
kind = "pagerduty"
secret = "pd"
url = "http://127.0.0.1:PORT/v2/enqueue"
allow_private = ["127.0.0.0/8"]
[secrets.pd]
"""


def made(text: str, place: Path) -> dict[str, Channel]:
    found = settings_from_text(settings_text(parse_settings(text)))  # as it comes out of the record
    return channels_of(found.channels, found.secrets, place, keys.private_directory(place / "keys"), CLOCK)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[channels.a]\nkind = "webhook"', "needs its url"),
        ('[channels.a]\nkind = "webhook"\nurl = "http://hooks.example/"', "https only"),
        ('[channels.a]\nkind = "webhook"\nurl = "https://user:word@hooks.example/"', "no user"),
        ('[channels.a]\nkind = "webhook"\nurl = "file:///etc/passwd"', "not an http or https URL"),
        ('[channels.a]\nkind = "webhook"\nurl = "https://h.example/"\nallow_private = ["10.0.0.1/8"]', "host bits"),
        ('[channels.a]\nkind = "webhook"\nurl = "https://h.example/"\nproxy = "http://x"', "proxy"),
        ('[channels.a]\nkind = "pagerduty"', "the routing key"),
        ('[channels.a]\nkind = "pagerduty"\nsecret = "pd"', "no .secrets.pd."),
        ('[channels.a]\nkind = "pagerduty"\nsecret = "pd"\n[secrets.pd]\ncommand = ["/bin/vault"]', "no page waits"),
        ('[channels.a]\nkind = "slack"\nsecret = "s"\nurl = "https://x.example/"\n[secrets.s]\nenv = "S"', "a secret"),
        ('[channels.a]\nkind = "desktop"\nsecret = "s"\n[secrets.s]\nenv = "S"', "needs no secret"),
        ('[channels.a]\nkind = "desktop"\nusers = ["anna"]', "said of a terminal"),
        ('[channels.email]\nkind = "desktop"', "own address"),
        ('[channels.A]\nkind = "desktop"', "small letters"),
        ('[channels.a]\nkind = "fax"', "fax"),
    ],
)  # fmt: skip
def test_a_channel_that_could_not_work_is_refused_when_it_is_saved(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        parse_settings(text)


def test_a_secret_is_read_anew_for_each_message_from_a_file_that_is_its_owners_alone(tmp_path: Path) -> None:
    with receiving(receivers.pagerduty) as receiver:
        channel = made(PAGER.replace("PORT", str(receiver.port)) + 'file = "pd.key"', tmp_path)["pager"]
        with pytest.raises(NotifyFailed, match="no secret file") as failed:
            channel.tell(message())
        assert not failed.value.temporary, "the next step is due now, and not after an hour of the same"
        for key in ("K3Y-0NE", "K3Y-TW0"):
            (tmp_path / "pd.key").write_text(f"{key}\n")
            (tmp_path / "pd.key").chmod(0o600)
            channel.tell(message())
        (tmp_path / "pd.key").chmod(0o644)
        with pytest.raises(NotifyFailed, match="0644") as failed:
            channel.tell(message())
        assert [each.json["routing_key"] for each in receiver.received] == ["K3Y-0NE", "K3Y-TW0"]
    assert "K3Y" not in str(failed.value)


def test_a_secret_of_the_environment_that_is_not_set_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving(receivers.pagerduty) as receiver:
        channel = made(PAGER.replace("PORT", str(receiver.port)) + 'env = "PD_KEY"', tmp_path)["pager"]
        monkeypatch.delenv("PD_KEY", raising=False)
        with pytest.raises(NotifyFailed, match="PD_KEY is not set"):
            channel.tell(message())
        monkeypatch.setenv("PD_KEY", "K3Y")
        channel.tell(message())
        assert receiver.received[0].json["routing_key"] == "K3Y"


@pytest.mark.parametrize(
    "url", ["hooks.slack.com/services/T0/B0/s3cr3t", "http://hooks.slack.com/s3cr3t", "http://[s3cr3t"]
)
@pytest.mark.requirement("R10.49")
def test_a_mistyped_secret_url_stands_in_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Attack: what a message failed with is an entry, and the URL of a room is all that it takes to write there."""
    monkeypatch.setenv("ROOM", url)
    channel = made('[channels.room]\nkind = "slack"\nsecret = "room"\n[secrets.room]\nenv = "ROOM"', tmp_path)["room"]
    with pytest.raises(NotifyFailed, match="secret room holds no URL") as failed:
        channel.tell(message())
    assert failed.value.__cause__ is None
    assert "s3cr3t" not in f"{failed.value} {failed.value.hint}"


def test_a_channel_on_this_machine_is_not_spoken_to_unless_it_is_allowed(tmp_path: Path) -> None:
    with receiving() as receiver:
        hook = f'[channels.hook]\nkind = "webhook"\nurl = "http://127.0.0.1:{receiver.port}/"\n'
        with pytest.raises(NotifyFailed, match="no public address"):
            made(hook, tmp_path)["hook"].tell(message())
        made(hook + 'allow_private = ["127.0.0.1/32"]', tmp_path)["hook"].tell(message())
        assert len(receiver.received) == 1
        signature = receiver.received[0].headers["webhook-signature"]
        signed = f"page-77.{receiver.received[0].headers['webhook-timestamp']}.".encode() + receiver.received[0].body
    public = keys.load_key(tmp_path / "keys" / KEY_FILE).public
    assert keys.verify(public, signed, base64.b64decode(signature.removeprefix("v1a,")))


def test_the_key_of_webhooks_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    place = keys.private_directory(tmp_path / "keys")
    with ThreadPoolExecutor(8) as pool:
        found = {key.public for key in pool.map(webhook_key, [place] * 8)}
    assert len(found) == 1
    path = place / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    with pytest.raises(InputError, match="0640"):
        webhook_key(place)
