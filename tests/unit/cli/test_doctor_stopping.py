"""What `doctor` says of actions that could not be shown to have stopped: none is forgotten, each says what to do."""

from __future__ import annotations

from typing import Any

from failwell.cli.doctor_stopping import lines


def status(unproven: dict[str, str], unconfirmed: list[int]) -> dict[str, Any]:
    return {
        "tested": {"at_us": 0, "classes": []}, "leftovers": {"found": "nothing was left", "alive": []},
        "unproven": unproven, "unconfirmed": unconfirmed,
    }  # fmt: skip


def test_an_action_that_nobody_looks_at_any_more_is_still_told() -> None:
    assert list(lines(status({}, []))) == []
    looked, left = reversed(list(lines(status({"9": "its confirm command says that it goes on"}, [9, 4]))))
    assert looked[:2] == left[:2] == ("unconfirmed", "todo")
    assert "says that it goes on" in looked[2]
    assert looked[3] == "stop it at its own side; it is looked at again: failwell action show 9"
    assert left[2] == "action 4 is not confirmed to have stopped: nobody looks at it any more"
    assert left[3] == "stop it at its own side: failwell action show 4"


def test_many_are_counted_and_the_report_has_them_all() -> None:
    told = list(lines(status({}, list(range(14)))))
    assert (len(told), told[-1][2:]) == (11, ("and 4 more", "failwell stop report"))
