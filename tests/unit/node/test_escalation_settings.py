"""Settings of how people are told: what would ask nobody, or something else than it reads, is refused at its place."""

from __future__ import annotations

import pytest

from failwell.core.contract import Step
from failwell.core.contract.path_words import within_us
from failwell.core.errors import InputError
from failwell.core.escalation.settings_of import escalating_of
from failwell.core.hours import DAY_US
from failwell.node.settings import parse_settings, settings_text

WHOLE = """
[escalation]
timezone = "Europe/Berlin"
quiet = "22:00-07:00"
[[escalation.steps]]
notify = "team:payments"
by = ["email", "hook"]
repeat = 2
require = "2"
severity = "major"
hours = "Mon-Fri 08:00-18:00"
[[escalation.steps]]
notify = "role:operator"
last_resort = true
[teams.payments]
timezone = "America/New_York"
[[teams.payments.turns]]
members = ["anna", "bert"]
every = "2w"
since = "2026-11-23T09:00"
[channels.hook]
kind = "webhook"
url = "https://hooks.example/failwell"
"""


def test_what_is_written_is_what_the_record_goes_by() -> None:
    found = escalating_of(settings_text(parse_settings(WHOLE)))
    assert found is not None
    first, last = found.path
    assert (first.notify, first.by, first.rounds, first.require) == ("team:payments", ("email", "hook"), 3, "2")
    assert (first.severity, first.hours, first.within_us) == ("major", "Mon-Fri 08:00-18:00", 15 * 60_000_000)
    assert (last.last_resort, last.by, last.within_us) == (True, ("email",), 30 * 60_000_000)
    assert found.teams[0][1].zone == "America/New_York"
    assert found.teams[0][1].turns[0].every_us == 14 * DAY_US
    assert (found.zone, found.quiet, found.channels) == ("Europe/Berlin", "22:00-07:00", (("hook", "webhook"),))


def test_a_contracts_step_and_the_houses_have_the_same_time_where_nothing_is_said() -> None:
    found = escalating_of(settings_text(parse_settings('[[escalation.steps]]\nnotify = "owner"')))
    assert found is not None
    assert found.path[0].within_us == within_us(Step(notify="owner", by=("email",)))


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ('"team:payments"', '"team:paymemts"', r"there is no \[teams.paymemts\]"),
        ('"team:payments"', '"payments"', "notify says 'payments'"),
        ('"role:operator"', '"role:operater"', "nobody has the role operater"),
        ('["email", "hook"]', '["email", "pager"]', r"there is no \[channels.pager\]"),
        ('require = "2"', 'require = "most"', "require is any, all or a number"),
        ('require = "2"', 'require = "0"', "require is any, all or a number"),
        ('"Mon-Fri 08:00-18:00"', '"office hours"', "are no hours"),
        ('"22:00-07:00"', '"night"', "are no hours"),
        ("last_resort = true", 'last_resort = true\nhours = "08:00-18:00"', "a last resort keeps to no hours"),
        ("last_resort = true", 'last_resort = true\nseverity = "major"', "a last resort keeps to no hours"),
        ("last_resort = true", "last_resort = true\nrepeat = 1", "a last resort keeps to no hours"),
        ("repeat = 2\nrequire", "repeat = -1\nrequire", "repeat"),
        (
            "last_resort = true",
            'last_resort = true\n[[escalation.steps]]\nnotify = "owner"',
            "3 is never reached: the last resort before it",
        ),
        ('"Europe/Berlin"', '"Europe/Berlni"', "there is no time zone"),
        ('"America/New_York"', '"../etc/passwd"', "there is no time zone"),
        ('["anna", "bert"]', '["anna", "anna"]', "named twice"),
        ('every = "2w"', 'every = "2 weeks"', "no time between turns"),
        ('every = "2w"\n', "", "since is said of turns that change"),
        ('since = "2026-11-23T09:00"', "", "since says when the first member's turn began"),
        ('"2026-11-23T09:00"', '"Monday"', "is no local time"),
        ("channels.hook]", "channels.Hook]", "a name has small letters"),
    ],
)
def test_what_would_ask_nobody_is_refused_with_its_place(was: str, now: str, said: str) -> None:
    assert was in WHOLE
    with pytest.raises(InputError, match=said) as refused:
        parse_settings(WHOLE.replace(was, now))
    assert "failwell.toml" in refused.value.message or "[" in refused.value.message
