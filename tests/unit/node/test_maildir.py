"""The inbox: each mail is judged once, and nothing in it holds up the rest, or the node."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from failwell.core.errors import Refused, Unhealthy
from failwell.node import maildir
from failwell.node.mail_settings import InboxSettings, MailSettings
from failwell.node.maildir import AT_ONCE, WITHIN_S, Maildir
from failwell.notify.mime import MAX_READ


class Scene:
    """An inbox, and a node that takes down what it was given to judge."""

    def __init__(self, place: Path) -> None:
        self.place = place
        for name in ("new", "cur", "tmp"):
            (place / name).mkdir(parents=True)
        self.judged: list[bytes] = []
        self.counted: list[str] = []
        self.answer: Callable[[bytes], None] = lambda content: None
        loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=loop.run_forever, daemon=True)
        self._thread.start()
        mail = MailSettings(host="h", sender="a@x.example", inbox=InboxSettings(kind="maildir", path=str(place)))
        made = SimpleNamespace(
            settings=SimpleNamespace(mail=mail), workspace=SimpleNamespace(path=place), loop=loop,
            answering=SimpleNamespace(take_mail=self._take),
            refusals=SimpleNamespace(count=lambda source, why: self.counted.append(why)),
        )  # fmt: skip
        self.node: Any = cast(Any, made)
        self.inbox = Maildir(self.node)
        self._now_s = 0.0

    async def _take(self, content: bytes) -> None:
        self.judged.append(content)
        self.answer(content)

    def deliver(self, name: str, content: bytes = b"x") -> None:
        (self.place / "new" / name).write_bytes(content)

    def look(self) -> None:
        """The next look, to its end."""
        self._now_s += maildir.LOOK_EVERY_S
        self.inbox.tick(self._now_s)
        assert self.inbox._looking is not None
        self.inbox._looking.join(10)

    def names(self, part: str) -> list[str]:
        return sorted(each.name for each in (self.place / part).iterdir())

    def close(self) -> None:
        self.node.loop.call_soon_threadsafe(self.node.loop.stop)
        self._thread.join()
        self.node.loop.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    found = Scene(tmp_path / "Maildir")
    yield found
    found.close()


def test_each_mail_is_judged_once_and_kept(scene: Scene) -> None:
    scene.deliver("1.b", b"second")
    scene.deliver("0.a", b"first")
    scene.look()
    scene.look()
    assert scene.judged == [b"first", b"second"]
    assert (scene.names("new"), scene.names("cur")) == ([], ["0.a:2,S", "1.b:2,S"])
    assert scene.inbox.failed is None


def test_of_a_large_mail_the_beginning_is_read(scene: Scene) -> None:
    scene.deliver("1", b"y" * (MAX_READ * 3))
    scene.look()
    assert [len(each) for each in scene.judged] == [MAX_READ]


def test_what_is_no_mail_is_put_aside_unread(scene: Scene, tmp_path: Path) -> None:
    """Attack: a link to a file that others may not read; a pipe that nobody writes to."""
    (tmp_path / "secret").write_text("secret")
    (scene.place / "new" / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(scene.place / "new" / "pipe")
    (scene.place / "new" / "directory").mkdir()
    (scene.place / "new" / ".hidden").write_text("half written")
    scene.look()
    assert scene.judged == []
    assert scene.names("new") == [".hidden"]


def test_what_the_ledger_does_not_take_now_is_judged_later_and_holds_up_no_other(scene: Scene) -> None:
    def busy(content: bytes) -> None:
        if content == b"later":
            raise Unhealthy("the ledger does not write")

    scene.answer = busy
    scene.deliver("0", b"later")
    scene.deliver("1", b"now")
    scene.look()
    assert scene.names("new") == ["0"]
    assert "does not write" in str(scene.inbox.failed)
    scene.answer = lambda content: None
    scene.look()
    assert scene.names("new") == []
    assert scene.inbox.failed is None


@pytest.mark.parametrize("error", [Refused("no answer that holds"), TypeError("a fault of ours")])
@pytest.mark.requirement("R10.74")
def test_what_is_refused_or_breaks_the_judge_is_counted_and_put_aside(scene: Scene, error: Exception) -> None:
    """Attack: so many mails that break their reader that nothing behind them is ever read."""

    def breaks(content: bytes) -> None:
        if content == b"bad":
            raise error

    scene.answer = breaks
    for number in range(AT_ONCE):
        scene.deliver(f"0.{number:03}", b"bad")
    scene.deliver("1", b"good")
    scene.look()
    scene.look()
    assert scene.judged[-1] == b"good"
    assert len(scene.counted) == AT_ONCE


@pytest.mark.requirement("R10.73")
def test_what_cannot_be_moved_is_not_judged_again(scene: Scene) -> None:
    """Attack: a bounce that is put on record every two seconds, for ever."""
    scene.deliver("1", b"bounce")
    (scene.place / "cur").rmdir()
    (scene.place / "cur").write_text("in the way")
    scene.look()
    scene.look()
    assert scene.judged == [b"bounce"]
    assert "new and cur" in str(scene.inbox.failed)


@pytest.mark.requirement("R10.72")
def test_a_mailbox_that_hangs_holds_up_nothing_and_is_told(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: a mailbox on a file server that is gone. The clock of every escalation runs on the same loop."""
    gate = threading.Event()
    monkeypatch.setattr(maildir, "_new", lambda place, judged: gate.wait(20) and [])
    try:
        began = time.monotonic()
        for second in range(int(WITHIN_S) + 5):
            scene.inbox.tick(100.0 + second)
        assert time.monotonic() - began < 2
        assert "hangs" in str(scene.inbox.failed)
    finally:
        gate.set()


def test_without_one_declared_nothing_is_looked_for(scene: Scene) -> None:
    scene.node.settings.mail = None
    scene.inbox.tick(1.0)
    assert scene.inbox._looking is None
