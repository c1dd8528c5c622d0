"""The published library and the published vector of Standard Webhooks judge what we sign."""

from __future__ import annotations

import base64
import datetime
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from failwell.identity import keys
from failwell.notify.pinned import Endpoint
from failwell.notify.standard_webhooks import Webhook, public_text
from tests.receivers import Received, receiving
from tests.unit.notify.test_channels import LOCAL, message

peer = pytest.importorskip("standardwebhooks", reason="requirements/install.py run dev installs it")

SHARED = "whsec_" + base64.b64encode(bytes(range(32))).decode()
KEY = keys.generate()


class Now:
    """What is signed minutes before it is looked at is refused as too old, and rightly."""

    def wall_us(self) -> int:
        return int(datetime.datetime.now(datetime.UTC).timestamp()) * 1_000_000


CLOCK: Any = Now()


@pytest.fixture(scope="module")
def sent() -> Received:
    with receiving() as receiver:
        at = Endpoint(f"http://127.0.0.1:{receiver.port}/hook", allow=LOCAL)
        Webhook(at, CLOCK, KEY.sign, lambda: SHARED).tell(message())
        return receiver.received[0]


def test_their_library_takes_what_we_sign_with_a_shared_key(sent: Received) -> None:
    assert peer.Webhook(SHARED).verify(sent.body, sent.headers)["data"]["incident"] == 1


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature", ""])
def test_their_library_refuses_what_was_changed_on_its_way(sent: Received, header: str) -> None:
    headers, body = dict(sent.headers), sent.body
    if header:
        changed = {
            "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1),
            "webhook-signature": "v1," + "A" * 44,
        }
        headers[header] = changed.get(header, "another")
    else:
        body = body.replace(b"critical", b"minor")
    with pytest.raises(Exception, match=r"(?i)signature"):
        peer.Webhook(SHARED).verify(body, headers)


def test_the_public_key_that_we_print_fits_the_ed25519_signature(sent: Received) -> None:
    printed = public_text(KEY.public)
    assert printed.startswith("whpk_")
    judge = Ed25519PublicKey.from_public_bytes(base64.b64decode(printed.removeprefix("whpk_")))
    version, _, text = sent.headers["webhook-signature"].split(" ")[0].partition(",")
    assert version == "v1a", "asymmetric first: who has no shared key needs no other"
    signed = f"{sent.headers['webhook-id']}.{sent.headers['webhook-timestamp']}.".encode() + sent.body
    judge.verify(base64.b64decode(text), signed)
    with pytest.raises(InvalidSignature):
        judge.verify(base64.b64decode(text), signed.replace(b"critical", b"minor"))


def test_the_published_vector_is_signed_as_it_stands_there() -> None:
    """Source: the reference libraries of Standard Webhooks; the secret there is the seed and then the public key."""
    seed = base64.b64decode("6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=")
    key = keys.from_seed(seed)
    signer = Webhook(Endpoint("https://hooks.example/"), CLOCK, key.sign)
    signature = signer.signatures("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert signature == ("v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==")
    assert public_text(key.public) == "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
