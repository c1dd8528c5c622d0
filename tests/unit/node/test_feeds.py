"""A feed's own thread: a fault of ours is shown and ends nothing."""

from __future__ import annotations

from typing import Any

from failwell.node import feeds
from failwell.node.feed_settings import FeedSettings
from tests.simulate.house import await_true


class Nothing:
    """Whatever a feed asks for before it tells anything."""

    def __getattr__(self, name: str) -> Any:
        return Nothing()

    def __call__(self, *_: Any, **__: Any) -> Any:
        return Nothing()


def test_a_fault_of_ours_ends_no_feed_and_is_shown(monkeypatch: Any) -> None:
    tried: list[int] = []

    def step(feed: feeds.Feed, system: Any) -> bool:
        tried.append(1)
        if len(tried) < 3:
            raise KeyError("an incident that is nowhere")
        return False

    monkeypatch.setattr(feeds, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(feeds, "FIRST_PAUSE_US", 10_000)
    monkeypatch.setattr(feeds, "system_of", lambda *_: None)
    monkeypatch.setattr(feeds.Feed, "_step", step)
    feed = feeds.Feed(Nothing(), "soc", FeedSettings(kind="ocsf", to="file:/x"))  # type: ignore[arg-type]
    try:
        await_true(lambda: feed.trouble == "KeyError while reading what is to be told")
        await_true(lambda: len(tried) >= 3 and feed.trouble is None)
        assert feed.alive
    finally:
        feed.stop()
        feed.join()
    assert not feed.alive
