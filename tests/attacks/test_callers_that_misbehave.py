"""Callers that send what no client of ours would: odd arguments, broken frames, floods, and calls made twice."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import failwell
from failwell.core import contract as contracts
from failwell.core import orders as o
from failwell.core.errors import FailwellError, InputError, Refused
from tests.simulate.fixtures import house, stage
from tests.simulate.house import SPIFFE, Caller, House, await_true

__all__ = ["house", "stage"]

# ---- arguments ---------------------------------------------------------------------------------------------------

ODD = {
    "not JSON": "{customer: 1}",
    "NaN": '{"customer": "c1", "millis": NaN}',
    "Infinity": '{"customer": "c1", "millis": Infinity}',
    "a list": "[1, 2]",
    "a bare string": '"c1"',
    "nothing": "",
    "null": "null",
    "duplicate keys": '{"customer": "c1", "customer": "c2", "millis": 0}',
    "duplicate keys by escape": '{"customer": "c1", "c\\u0075stomer": "c2", "millis": 0}',
    "unknown argument": '{"customer": "c1", "millis": 0, "more": 1}',
    "missing argument": '{"customer": "c1"}',
    "null for a required one": '{"customer": null, "millis": 0}',
    "a fraction": '{"customer": "c1", "millis": 0.5}',
    "a number as text": '{"customer": "c1", "millis": "0"}',
    "true for a number": '{"customer": "c1", "millis": true}',
    "beyond the range": '{"customer": "c1", "millis": 60001}',
    "beyond any integer": '{"customer": "c1", "millis": 1e400}',
    "an integer of 10,000 digits": '{"customer": "c1", "millis": ' + "9" * 10_000 + "}",
    "money with three places": '{"customer": "c1", "millis": 0, "amount": 1.005}',
    "money that is nearly two places": '{"customer": "c1", "millis": 0, "amount": 1.0000000000000002}',
    "an id in look-alike letters": '{"customer": "\u04411", "millis": 0}',
    "a lone surrogate": '{"customer": "c1", "millis": 0, "text": "\\ud800"}',
    "depth 100": '{"customer": "c1", "millis": 0, "text": ' + "[" * 100 + "]" * 100 + "}",
    "depth 100,000": "[" * 100_000,
    "2 MiB": json.dumps({"customer": "c1", "millis": 0, "text": "x" * 2_097_152}),
    "a trailing comma": '{"customer": "c1", "millis": 0,}',
    "a NUL": '{"customer": "c1\\u0000", "millis": 0}',
    "a byte order mark": '\ufeff{"customer": "c1", "millis": 0}',
    "a comment": '{"customer": "c1", /* */ "millis": 0}',
}
TOOLS = {
    "an unknown tool": "note.erase",
    "a look-alike tool": "n\u043ete.write",
    "an upper-case tool": "Note.write",
    "a tool with a space": "note.write ",
    "an empty tool": "",
    "a tool's name of 60,000 characters": "n" * 60_000,
    "a tool's name of 60,000 letters of four bytes": "😀" * 60_000,
    "a tool with line ends": "note.write\nALLOW",
}


@pytest.fixture(scope="module")
def lived(stage: Any) -> Any:
    from tests.simulate.fixtures import model

    made = model().copy(stage / "lived")
    made.node(crashing=True)
    yield made
    made.hold_true()
    made.hang_up()
    assert made.nodes[-1].stop() == 0
    made.verify()
    made.tear_down()


def denied_on_record(house: House, caller: Caller, answer: dict[str, Any]) -> dict[str, Any]:
    verdict = answer["verdict"]
    assert verdict["verdict"] == "DENY"
    assert verdict["because"]
    assert answer["result"] is None
    entry = house.entries("decision")[-1]
    assert (entry["seq"], entry["body"]["verdict"]) == (verdict["entry"], "DENY")
    assert house.began() == []
    return entry


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_odd_arguments_are_denied_on_record_with_words_and_run_nothing(lived: House, text: str) -> None:
    caller = lived.agent(f"bot-{list(ODD.values()).index(text):02d}")
    entry = denied_on_record(lived, caller, caller.act(text))
    assert entry["body"]["clauses"][0]["id"] == "arguments"
    assert entry["body"]["arguments_bytes"] == len(text.encode())
    caller.close()


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS.keys())
def test_tools_that_are_not_listed_are_denied_on_record_and_run_nothing(lived: House, tool: str) -> None:
    caller = lived.agent(f"bot-{30 + list(TOOLS.values()).index(tool):02d}")
    entry = denied_on_record(lived, caller, caller.act({"customer": "c1", "millis": 0}, tool=tool))
    assert entry["body"]["clauses"][0]["id"] == "tool.unlisted"
    caller.close()


@pytest.mark.parametrize(
    ("change", "clause"),
    [
        (lambda caller, house: setattr(caller, "run", None), "run.unknown"),
        (lambda caller, house: setattr(caller, "run", 2**60), "run.unknown"),
        (lambda caller, house: setattr(caller, "run", -1), "run.unknown"),
        (lambda caller, house: setattr(caller, "run", house.agent("other-bot").run), "run.unknown"),
        (lambda caller, house: caller.wire.call("run.close", agent=caller.agent, run=caller.run), "run.unknown"),
    ],
    ids=["no run", "a run far ahead", "a negative run", "another agent's run", "a closed run"],
)
def test_a_call_in_no_run_of_ones_own_is_denied_on_record(
    lived: House, change: Callable[[Caller, House], Any], clause: str
) -> None:
    caller = lived.agent("bot-41")
    change(caller, lived)
    entry = denied_on_record(lived, caller, caller.write("c1"))
    assert [item["id"] for item in entry["body"]["clauses"]] == [clause]
    caller.close()


@pytest.mark.parametrize("call", ["", "x" * 129, "tab\there", "ünïcode", "\u202e"])
def test_a_call_id_that_could_not_stand_in_the_record_is_refused(lived: House, call: str) -> None:
    caller = lived.agent("bot-42")
    with pytest.raises(Refused, match="call id"):
        caller.wire.call("act", agent=caller.agent, run=caller.run, call=call, tool="note.write", arguments="{}")
    caller.close()


def test_an_unregistered_agent_behind_a_proved_connection_is_denied_on_record(lived: House) -> None:
    caller = lived.agent("bot-43")
    stranger = f"{SPIFFE}nobody-knows-me"
    answer = caller.act({"customer": "c1"}, agent=stranger)
    entry = denied_on_record(lived, caller, answer)
    assert (entry["agent"], [item["id"] for item in entry["body"]["clauses"]]) == (stranger, ["agent.unknown"])
    with pytest.raises(InputError):
        caller.act({"customer": "c1"}, agent="Not A Name")
    caller.close()


def test_an_agent_without_a_contract_is_denied_on_record(house: House) -> None:
    house.node(crashing=True)
    house.agent_keys["bare-bot"] = house.register(house.hand("anna"), "bare-bot")
    caller = house.agent("bare-bot")
    entry = denied_on_record(house, caller, caller.write("c1"))
    assert entry["body"]["clauses"][0]["id"] == "contract.absent"


def test_a_broken_contract_is_not_put_in_force_and_the_old_one_goes_on(house: House) -> None:
    """Signed by both, by people who did not look: a clause that can fail, an argument without a type."""
    house.node(crashing=True)
    sound = contracts.to_canonical(house.contract("refund-bot", version=2)).decode()
    for part, broken in (('"type":"id"', '"type":"nonsense"'), ("context.args.customer ==", "context.args.nobody ==")):
        document = sound.replace(part, broken, 1)
        assert document != sound
        digest = contracts.digest(contracts.from_canonical(document.encode()))
        anna, bert = house.hand("anna"), house.hand("bert")
        signed = anna.sign("contract.sign", o.ContractSign(contract="refund-bot", version=2, digest=digest))
        cited = o.order_digest(o.parse_order(signed.order))
        adopted = bert.sign(
            "contract.adopt", o.ContractAdopt(contract="refund-bot", version=2, digest=digest, signed=cited)
        )
        orders = [json.loads(o.encode_signed(order)) for order in (signed, adopted)]
        with pytest.raises(FailwellError):
            house.caller(None).wire.call("order", orders=orders, document=document, timeout_s=10)
    assert house.agent().write("c1")["result"]["state"] == "completed"
    assert house.entries("decision")[-1]["body"]["contract"] == "refund-bot@1"


def test_an_escalated_call_does_not_run(lived: House) -> None:
    caller = lived.agent("bot-44")
    answer = caller.write("maybe")
    assert (answer["verdict"]["verdict"], answer["result"]) == ("ESCALATE", None)
    assert lived.began() == []
    caller.close()


def test_texts_that_no_entry_has_room_for_are_refused_or_kept_aside_and_spoil_nobodys_batch(house: House) -> None:
    house.node(crashing=True)
    caller, other = house.agent(), house.agent("other-bot")
    huge = "x" * 300_000
    begun = caller.ask({"customer": "c1"}, tool="desk.ask", how="begin").result(5)["verdict"]["entry"]
    asked = [
        caller.wire.ask("run.close", agent=caller.agent, run=caller.run, reason=huge),
        caller.wire.ask("settle", agent=caller.agent, action=begun, state="failed", why=huge, result=huge),
        caller.wire.ask("run.open", agent=caller.agent, principal=huge, request=huge),
        caller.wire.ask("hello", role=huge, name=huge, proof=huge),
        caller.wire.ask("ask", about=huge),
        caller.ask({"customer": "c1", "millis": 0}, reason=huge),
        caller.ask({"customer": "c1", "millis": 0, "text": huge[:200_000]}),
    ]
    good = [other.ask({"customer": f"g{number}", "millis": 0}, how="decide") for number in range(10)]
    for future in asked:
        with contextlib.suppress(FailwellError):
            future.result(10)
    assert {answer.result(10)["verdict"] for answer in good} == {"ALLOW"}
    assert other.write("after")["result"]["state"] == "completed"
    largest = max(len(json.dumps(entry)) for entry in house.entries())
    assert largest < 20_000
    assert house.entries("refusals") == [] or max(len(json.dumps(item)) for item in house.entries("refusals")) < 2_000


# ---- frames ------------------------------------------------------------------------------------------------------


def connect(house: House) -> socket.socket:
    raw = socket.socket(socket.AF_UNIX)
    raw.settimeout(10)
    raw.connect(str(house.workspace.socket))
    return raw


def read_frame(raw: socket.socket) -> dict[str, Any]:
    length = int.from_bytes(read_exactly(raw, 4), "big")
    found: dict[str, Any] = json.loads(read_exactly(raw, length))
    return found


def read_exactly(raw: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = raw.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


@pytest.mark.parametrize(
    "data",
    [
        b"", b"null", b"[]", b"{", b"\xff\xfe", b'{"do": "act"}', b'{"do": "nothing", "id": 1}', b'{"id": 1}',
        b'{"do": "ask", "id": 1, "about": "status", "more": 1}', b'{"do": "ask", "id": "one", "about": "status"}',
        b'{"do": "ask", "id": 1, "about": "incident", "key": "x"}', b'{"do": "ask", "id": 1, "about": "sight"}',
        b'{"do": "ask", "id": 1, "about": "entries", "key": 1e300}',
        b'{"do": "ask", "id": 1, "about": "entries", "key": -5}',
        b'{"do": "order", "id": 1, "orders": []}', b'{"do": "order", "id": 1, "orders": [{"order": "x"}]}',
        b'{"do": "order", "id": 1, "orders": [{"order": "{}", "key": "0000000000000000", "signature": "x"}]}',
        b'{"do": "ask", "id": 1, "about": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    ],
)  # fmt: skip
def test_a_frame_that_makes_no_sense_is_answered_and_the_connection_goes_on(lived: House, data: bytes) -> None:
    with connect(lived) as raw:
        read_frame(raw)
        raw.sendall(framed(data))
        answer = read_frame(raw)
        assert answer.keys() & {"error", "ok"}
        raw.sendall(framed(b'{"do": "ask", "id": 7, "about": "status"}'))
        assert read_frame(raw)["ok"]["health"] == "ok"


def test_an_oversize_frame_ends_its_connection_and_nobody_elses(lived: House) -> None:
    caller = lived.agent("bot-45")
    with connect(lived) as raw:
        read_frame(raw)
        raw.sendall((2**31).to_bytes(4, "big"))
        assert "at most" in read_frame(raw)["error"]["message"]
        assert raw.recv(1) == b""
    assert caller.ask({"customer": "c1"}, how="decide").result(5)["verdict"] == "DENY"
    caller.close()


def test_garbage_half_frames_and_sudden_ends_leave_the_node_working(lived: House) -> None:
    caller = lived.agent("bot-46")
    half = framed(b'{"do": "ask", "id": 1, "about": "status"}')
    for data in (b"\0", half[:10], b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 1000, framed(b"{}")[:-1]):
        raw = connect(lived)
        raw.sendall(data)
        raw.close()
    slow = connect(lived)
    read_frame(slow)
    for byte in half:
        slow.sendall(bytes([byte]))
    assert read_frame(slow)["ok"]["health"] == "ok"
    slow.close()
    assert caller.ask({"customer": "c1", "millis": 0}, how="decide").result(5)["verdict"] == "ALLOW"
    caller.close()


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_a_reader_that_never_reads_is_hung_up_on_and_costs_no_memory(house: House) -> None:
    node = house.node(crashing=True)
    caller = house.agent("other-bot")
    before = resident_bytes(node.pid)
    with connect(house) as raw:
        question = framed(b'{"do": "ask", "id": 1, "about": "entries", "key": 0}')
        raw.settimeout(0.5)
        with contextlib.suppress(OSError):
            for _ in range(400):  # some 300 kB each to answer
                raw.sendall(question)
        await_true(lambda: caller.write("goes-on")["result"]["state"] == "completed")
        assert resident_bytes(node.pid) - before < 300_000_000
    assert caller.write("after")["result"]["state"] == "completed"


def test_a_caller_that_hangs_up_in_mid_call_has_its_tool_stopped_and_never_run_again(house: House) -> None:
    house.node(crashing=True)
    caller = house.agent()
    caller.ask({"customer": "c1", "millis": 30_000}, call="mine")
    await_true(lambda: house.began("c1"))
    caller.wire.close()
    outcome = await_true(lambda: house.entries("outcome"))[0]
    assert outcome["body"]["state"] == "interrupted_confirmed"
    (attempted,) = house.entries("interrupt.attempted")
    assert attempted["body"]["method"] == "supervised: its caller is gone"
    again = house.caller()
    again.run = caller.run
    assert again.write("c1", 30_000, call="mine")["verdict"]["state"] == "interrupted_confirmed"
    assert len(house.began("c1")) == 1


def test_a_caller_that_hangs_up_while_it_executes_leaves_an_unknown_outcome(house: House) -> None:
    house.node(crashing=True)
    caller = house.agent()
    caller.ask({"customer": "c1"}, tool="desk.ask", how="begin").result(5)
    late = house.agent()
    late.ask({"customer": "c2"}, tool="desk.ask", how="begin")
    late.wire.close()
    caller.wire.close()
    await_true(lambda: len(house.entries("outcome")) == len(house.entries("decision")) >= 1)
    assert {entry["body"]["state"] for entry in house.entries("outcome")} <= {"unknown", "blocked"}
    assert house.ask("running") == []


# ---- the same call twice, many callers at once -------------------------------------------------------------------


def test_one_call_made_by_sixteen_threads_at_once_runs_once(house: House) -> None:
    house.node(crashing=True)
    callers = [house.caller() for _ in range(16)]
    run = callers[0].open().run
    for caller in callers:
        caller.run = run
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda caller: caller.write("c1", 100, call="the-one-call"), callers))
    assert len(house.began("c1")) == 1
    assert len(house.entries("decision")) == 1
    assert {answer["verdict"]["entry"] for answer in answers} == {house.entries("decision")[0]["seq"]}
    # Whoever asks again once it has ended is told what came of it: one outcome, whoever hears of it.
    (ran,) = (answer for answer in answers if not answer["verdict"]["repeated"])
    told = [answer["result"]["entry"] for answer in answers if answer["result"] is not None]
    assert ran["result"] is not None
    assert set(told) == {entry["seq"] for entry in house.entries("outcome")}
    assert len(house.entries("outcome")) == 1


def test_a_denied_call_made_again_in_the_same_moment_is_denied_once(house: House) -> None:
    house.node(crashing=True)
    caller = house.agent()
    answers = [
        caller.ask({"customer": "c1", "more": 1}, call="denied", how="decide").result(5)
        if number > 8
        else caller.ask({"customer": "c1", "more": 1}, call="denied", how="decide")
        for number in range(12)
    ]
    told = [answer if isinstance(answer, dict) else answer.result(5) for answer in answers]
    assert {item["verdict"] for item in told} == {"DENY"}
    assert len({item["entry"] for item in told}) == 1
    assert len(house.entries("decision")) == 1


def test_a_call_id_used_for_other_arguments_is_denied_also_after_a_restart(house: House) -> None:
    node = house.node(crashing=True)
    caller = house.agent()
    caller.write("c1", call="mine")
    assert caller.write("c2", call="mine")["verdict"]["clauses"] == ["call.reused"]
    node.kill()
    house.hang_up()
    house.node(crashing=True)
    again = house.caller()
    again.run = caller.run
    assert again.write("c3", call="mine")["verdict"]["clauses"] == ["call.reused"]
    first = again.write("c1", call="mine")["verdict"]
    assert (first["repeated"], first["state"]) == (True, "completed"), "the first call keeps its answer"
    assert [line["customer"] for line in house.began()] == ["c1"]


def test_sixty_four_callers_at_once_get_sixty_four_true_answers(house: House) -> None:
    node = house.node(crashing=True)
    names = ["refund-bot", "other-bot", *[f"bot-{number:02d}" for number in range(14)]]
    callers = [house.agent(names[number % 16]) for number in range(64)]
    with ThreadPoolExecutor(64) as pool:
        answers = list(
            pool.map(
                lambda pair: [
                    pair[1].act({"customer": f"c{pair[0]}-{number}", "millis": 0}, how="decide") for number in range(10)
                ],
                enumerate(callers),
            )
        )
    seqs = Counter(answer["verdict"]["entry"] for told in answers for answer in told)
    assert len(seqs) == 640
    decisions = {entry["seq"]: entry for entry in house.entries("decision")}
    for caller, told in zip(callers, answers, strict=True):
        for answer in told:
            entry = decisions[answer["verdict"]["entry"]]
            assert (entry["agent"], entry["run"]) == (caller.agent, caller.run)
    assert node.process.poll() is None


def test_agents_share_no_limit_no_suspension_and_no_call_ids(house: House) -> None:
    house.node(crashing=True)
    house.adopt("refund-bot", version=2, at_most=2)
    mine, other = house.agent(), house.agent("other-bot")
    for number in range(3):
        mine.write(f"m{number}", call=f"ours-{number}")
        assert other.write(f"o{number}", call=f"ours-{number}")["result"]["state"] == "completed"
    assert mine.write("m4")["verdict"]["clauses"] == ["per-minute"]
    mine.write("trip")
    assert mine.write("m5")["verdict"]["clauses"] == ["authority.suspended"]
    assert other.write("o5")["result"]["state"] == "completed"


@pytest.mark.parametrize("count", [1_500, pytest.param(21_000, marks=pytest.mark.slow)])
def test_a_flood_is_told_to_wait_and_a_suspension_passes_it(house: House, count: int) -> None:
    """Beyond 20,000 waiting requests of one connection the rest is told `busy`; nothing is swallowed."""
    house.node()
    flood = house.agent("other-bot")
    text = json.dumps({"customer": "c1", "millis": 0})
    data = bytearray()
    for number in range(count):
        body = {
            "do": "act", "id": number, "agent": flood.agent, "run": flood.run, "call": f"f{number}",
            "tool": "note.write", "arguments": text, "how": "decide",
        }  # fmt: skip
        data += framed(json.dumps(body).encode())
    heard: list[dict[str, Any]] = []
    flood.wire._settle = heard.append  # type: ignore[method-assign,assignment]
    sender = threading.Thread(target=flood.wire._socket.sendall, args=(bytes(data),), daemon=True)
    sender.start()
    await_true(lambda: heard)
    began = time.monotonic()
    assert house.suspend(wait_s=20).confirmed
    took_s = time.monotonic() - began
    seen = len(heard)
    await_true(lambda: len(heard) == count, 45)
    sender.join(5)
    assert took_s < 20
    assert seen < count
    codes = Counter(message.get("error", {}).get("code", "answered") for message in heard)
    assert (codes["busy"] > 0) == (count > 20_000), codes
    # Fenced are those that were allowed and had not left yet when the suspension came: they leave no more.
    assert codes["busy"] + codes["answered"] + codes["fenced"] == count, codes


# ---- what is declared and what is given --------------------------------------------------------------------------


def test_a_closure_for_a_tool_that_the_contract_declares_supervised_is_refused_before_it_runs(house: House) -> None:
    house.node(crashing=True)
    ran: list[str] = []
    with house.gate() as gate, gate.run("refund-bot") as run:
        gate.tool("note.write")(lambda customer, millis: ran.append(customer))
        gate.tool("vault.open")(lambda customer: ran.append(f"{customer} opened"))
        for tool, given in (("note.write", {"customer": "c1", "millis": 0}), ("vault.open", {"customer": "c1"})):
            with pytest.raises(Refused, match="declares"):
                run.call(tool, given)
    assert ran == []
    assert {entry["body"]["state"] for entry in house.entries("outcome")} == {"blocked"}
    assert len(house.entries("outcome")) == 2


def test_a_fenced_tool_is_not_run_by_a_supervisor_either(house: House) -> None:
    house.node(crashing=True)
    caller = house.agent()
    with pytest.raises(Refused, match="fenced"):
        caller.act({"customer": "c1"}, tool="vault.open")
    assert house.entries("outcome")[0]["body"]["state"] == "blocked"


def test_a_tool_with_nothing_to_run_gives_its_reservation_back(house: House) -> None:
    house.node(crashing=True)
    house.adopt("refund-bot", version=2, at_most=1)
    caller = house.agent()
    for target in (None, {"command": ()}):
        with pytest.raises(FailwellError, match="nothing is declared"):
            caller.act({"customer": "c1", "millis": 0}, target=target)
    bad = caller.act({"customer": "c1", "millis": 0}, target={"command": ["/no/such/program"]})
    assert bad["result"]["state"] == "blocked"
    assert caller.write("c2")["result"]["state"] == "completed", "nothing that did not start counts"
    assert caller.write("c3")["verdict"]["clauses"] == ["per-minute"]


@pytest.mark.parametrize("end", ["never", "completes", "says interrupted"])
def test_a_cooperative_tool_is_never_called_confirmed_when_it_is_suspended(house: House, end: str) -> None:
    house.node(crashing=True)
    entered, leave = threading.Event(), threading.Event()
    gate = house.gate()

    def ask(customer: str) -> str:
        entered.set()
        leave.wait(20)
        if end == "says interrupted":
            raise RuntimeError("stopped as told")
        return customer

    gate.tool("desk.ask")(ask)

    def work() -> None:
        with contextlib.suppress(FailwellError, RuntimeError), gate.run("refund-bot") as run:
            run.call("desk.ask", customer="c1")

    thread = threading.Thread(target=work)
    thread.start()
    assert entered.wait(10)
    assert house.suspend().confirmed
    if end != "never":
        leave.set()
    incident = await_true(lambda: (row := house.incident_of()) and "CONTAINMENT_FAILED" in row["marks"] and row)
    leave.set()
    thread.join(10)
    gate.close()
    assert "STOPPED" not in incident["marks"]
    assert incident["waiting"] == []
    assert house.entries("interrupt.confirmed") == []
    assert len(house.entries("interrupt.unconfirmed")) == 1
    state = house.entries("outcome")[0]["body"]["state"]
    assert state == ("completed_after_interrupt" if end == "completes" else "interrupted_unconfirmed")
    house.hold_true()


def test_a_verdict_alone_executes_nothing_and_can_be_made_up_for_by_nobody(lived: House) -> None:
    caller = lived.agent("bot-47")
    verdict = caller.ask({"customer": "c1", "millis": 0}, how="decide", call="asked").result(5)
    assert verdict["verdict"] == "ALLOW"
    again = caller.write("c1", call="asked")
    assert (again["verdict"]["repeated"], again["result"]) == (True, None)
    with pytest.raises(failwell.Error):
        caller.wire.call("settle", agent=caller.agent, action=verdict["entry"], state="completed", timeout_s=5)
    caller.close()
