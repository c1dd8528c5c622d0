"""The extra, with the real library speaking to a real receiver."""

from __future__ import annotations

import sys
import time

import pytest

from failwell.notify.apprise import Apprise
from failwell.ports.notifier import NotifyFailed
from tests import receivers
from tests.receivers import receiving
from tests.unit.notify.test_channels import CLOCK, message

pytest.importorskip("apprise", reason="requirements/install.py run dev installs it")
#: Its hundred plugins bring some that this Python grumbles at.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_what_its_provider_took_is_accepted_by_a_provider_and_no_more() -> None:
    with receiving() as receiver:
        receipt = Apprise(lambda: f"json://127.0.0.1:{receiver.port}/hook\n", CLOCK, 10.0).tell(message())
        assert receiver.received[0].json["title"] == "refund-bot suspended"
        assert "\x1b" not in receiver.received[0].json["message"]
    assert receipt.detail == "accepted by the provider"


def test_a_provider_that_refuses_or_a_url_that_is_none_is_a_failure_without_the_url_in_it() -> None:
    with receiving(receivers.status(500)) as receiver:
        for url, temporary in ((f"json://us3r:s3cr3t@127.0.0.1:{receiver.port}/", True), ("s3cr3t://nowhere", False)):
            with pytest.raises(NotifyFailed) as failed:
                Apprise(lambda url=url: url, CLOCK, 10.0).tell(message())  # type: ignore[misc]
            assert failed.value.temporary is temporary
            assert "s3cr3t" not in str(failed.value)


def test_a_provider_that_hangs_is_waited_for_once() -> None:
    with receiving(receivers.hang) as receiver:
        channel = Apprise(lambda: f"json://127.0.0.1:{receiver.port}/", CLOCK, 0.5)
        began = time.monotonic()
        with pytest.raises(NotifyFailed, match="in time") as failed:
            channel.tell(message())
        with pytest.raises(NotifyFailed, match="before this one"):
            channel.tell(message())
        assert failed.value.temporary
        assert time.monotonic() - began < 5
        assert len(receiver.received) <= 1


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(NotifyFailed) as failed:
        Apprise(lambda: "json://127.0.0.1/", CLOCK, 1.0).tell(message())
    assert "failwell[apprise]" in str(failed.value.hint)
    assert not failed.value.temporary
