"""What the node makes of what its sources say: states, slots, deadlines; and what the settings may declare."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from failwell.core.contract import Looked, Question
from failwell.core.contract.argument import Mismatch, parse_type
from failwell.core.errors import InputError
from failwell.gate.verdicts import Unanswered
from failwell.node import settings
from failwell.node.sources import SLOTS_OF_ONE, Sources, _Declared
from failwell.ports.addresses import parse_address
from failwell.ports.executor import Executor
from failwell.ports.sources import Reply
from tests.simulate.source import WORDS

MS = 1000


class Says:
    """A source that says what it is told to, after a while; it notes what it was asked and how many at once."""

    def __init__(self, text: bytes = b"1", *, after_s: float = 0.0, raises: bool = False) -> None:
        self.text = text
        self.after_s = after_s
        self.raises = raises
        self.asked: list[bytes] = []
        self.at_once = self.most = 0

    def asking(self, arguments: bytes, within_us: int) -> SaysOnce:
        self.asked.append(arguments)
        return SaysOnce(self)


class SaysOnce:
    def __init__(self, says: Says) -> None:
        self.says = says
        self.stopped = threading.Event()

    def run(self) -> Reply:
        says = self.says
        says.at_once += 1
        says.most = max(says.most, says.at_once)
        self.stopped.wait(says.after_s)
        says.at_once -= 1
        if says.raises:
            raise ZeroDivisionError
        return Reply(state="late") if self.stopped.is_set() else Reply(state="answered", text=says.text)

    def stop(self) -> None:
        self.stopped.set()


def sources(tmp_path: Path, within_ms: int = 2000, **given: Says) -> Sources:
    executor: Any = None  # no source here is a command
    made = Sources(executor, "log/", tmp_path)
    made._declared = {name: _Declared(source, within_ms * MS) for name, source in given.items()}
    return made


def look(made: Sources, source: str = "paid", agent: str = "a", **arguments: Any) -> Looked:
    return asyncio.run(made.look(agent, source, arguments))


@pytest.mark.parametrize("word", sorted(WORDS))
def test_an_answer_is_one_strict_json_value_of_its_type_or_wrong(tmp_path: Path, word: str) -> None:
    looked = look(sources(tmp_path, paid=Says(WORDS[word].encode())))
    money = parse_type("money(2, 0..10000)")
    if word == "right":
        assert (looked.state, money.read(looked.value)) == ("answered", 5000)
    elif looked.state == "answered":
        with pytest.raises(Mismatch):
            money.read(looked.value)
    else:
        assert (looked.state, looked.value) == ("wrong", None)
        assert "50" not in looked.detail


def test_a_source_that_nobody_declared_a_late_one_and_one_that_breaks(tmp_path: Path) -> None:
    made = sources(tmp_path, 50, late=Says(after_s=5), broken=Says(raises=True))
    began = time.monotonic()
    assert look(made, "unknown").state == "failed"
    assert look(made, "late").state == "late"
    assert look(made, "broken").state == "failed"
    assert time.monotonic() - began < 3


def test_an_action_asks_all_its_sources_side_by_side_with_arguments_as_canonical_json(tmp_path: Path) -> None:
    slow = {name: Says(b"true", after_s=0.2) for name in ("one", "two", "three")}
    questions = tuple(Question(fact=name, source=name, arguments={"b": 1, "a": "\u00e9"}) for name in slow)
    made = sources(tmp_path, 2000, **slow)
    began = time.monotonic()
    asked = asyncio.run(made.ask("a", Unanswered(questions=questions, contract="c")))
    assert time.monotonic() - began < 0.55
    assert {name: looked.value for name, looked in asked.answers.items()} == dict.fromkeys(slow, True)
    assert asked.contract == "c"
    assert slow["one"].asked == ['{"a":"\u00e9","b":1}'.encode()]


def test_one_agents_questions_take_no_slot_of_anothers(tmp_path: Path) -> None:
    slow, quick = Says(after_s=0.3), Says()
    made = sources(tmp_path, slow=slow, quick=quick)

    async def both() -> tuple[list[Looked], float]:
        many = [asyncio.create_task(made.look("greedy", "slow", {})) for _ in range(3 * SLOTS_OF_ONE)]
        await asyncio.sleep(0.05)
        began = time.monotonic()
        assert (await made.look("modest", "quick", {})).state == "answered"
        took_s = time.monotonic() - began
        return list(await asyncio.gather(*many)), took_s

    told, took_s = asyncio.run(both())
    assert took_s < 0.2
    assert slow.most == SLOTS_OF_ONE
    assert {looked.state for looked in told} == {"answered"}


def test_who_waits_too_long_for_a_slot_is_late_and_slots_come_back(tmp_path: Path) -> None:
    source = Says(after_s=0.3)
    made = sources(tmp_path, 400, slow=source)

    async def crowd() -> list[str]:
        told = await asyncio.gather(*(made.look("a", "slow", {}) for _ in range(2 * SLOTS_OF_ONE)))
        await asyncio.sleep(0.1)
        source.after_s = 0
        told += await asyncio.gather(*(made.look("a", "slow", {}) for _ in range(SLOTS_OF_ONE)))
        return [looked.state for looked in told]

    states = asyncio.run(crowd())
    assert states[-SLOTS_OF_ONE:] == ["answered"] * SLOTS_OF_ONE
    assert states.count("late") == SLOTS_OF_ONE
    assert source.at_once == 0


def test_reports_of_a_dead_nodes_lookups_are_cleared_away(tmp_path: Path) -> None:
    for name in ("swept--3.json", "swept-7.json"):
        (tmp_path / name).write_text("{}")
    executor: Any = None
    Sources(executor, "log/", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["swept-7.json"]
    assert Executor is not None


# ---- settings ----------------------------------------------------------------------------------------------------


def source(text: str) -> settings.Settings:
    return settings.parse_settings(f'[sources."orders.paid"]\n{text}')


def test_a_source_is_a_command_or_an_address_of_this_machine_and_settings_come_back_from_their_text() -> None:
    for text in (
        'command = ["/bin/paid"]\nenv = {B_FILE = "b", A = "a"}\ndeadline_ms = 30000\ncwd = "/srv"',
        'url = "http://127.0.0.1:8080/paid"', 'url = "http://[::1]/paid?x=1"', 'url = "http://localhost:1/"',
        'url = "https://127.0.0.2/"\nca_file = "/etc/ca.pem"',
        'url = "https://facts.example/paid"\nallow_remote = true',
    ):  # fmt: skip
        found = source(text)
        assert settings.settings_from_text(settings.settings_text(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "", 'command = ["a"]\nurl = "http://127.0.0.1/"', "command = []", 'command = [""]', 'command = "sh -c x"',
        'command = ["a"]\ndeadline_ms = 0', 'command = ["a"]\ndeadline_ms = 30001', 'command = ["a"]\nretry = 3',
        'command = ["a"]\nallow_remote = true', 'url = "http://127.0.0.1/"\ncwd = "/"',
        'url = "http://10.0.0.1/"', 'url = "http://facts.example/"', 'url = "https://facts.example/"',
        'url = "http://facts.example/"\nallow_remote = true', 'url = "file:///etc/passwd"', 'url = "127.0.0.1:80"',
        'url = "http://user:secret@127.0.0.1/"', 'url = "http://127.0.0.1:port/"', 'url = "http://127.0.0.1/#x"',
        'url = "http://127.0.0.1.evil.example/"', 'url = "http://"', 'url = "http://127.0.0.1/a b"',
    ],
)  # fmt: skip
def test_settings_refuse_a_source_that_is_not_clearly_declared(text: str) -> None:
    with pytest.raises(InputError) as refused:
        source(text)
    assert "secret" not in refused.value.message


def test_a_source_has_a_name_that_a_contract_can_spell() -> None:
    with pytest.raises(InputError):
        settings.parse_settings('[sources." x"]\ncommand = ["a"]')


def test_settings_that_declare_no_source_keep_their_digest() -> None:
    assert "sources" not in settings.settings_text(settings.Settings())


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:99999/", "http://[::1", "gopher://127.0.0.1/", "http://127.0.0.1/\n"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(InputError):
        parse_address(url)
