"""What the readers of recorded runs must not lose, mend or guess."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from failwell.core.errors import InputError, NotFound
from failwell.replay.files import LINE_LIMIT_BYTES
from failwell.replay.traces import ReadCounts, RecordedRun, count_runs, read_runs

Write = Callable[..., Path]

SUMMARY = '{"metadata": {"benchmark": "agent-dojo", "accuracy": 0.5, "name": "small"}}'


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(*lines: str, name: str = "runs.jsonl", packed: bool = False) -> Path:
        data = ("\n".join(lines) + "\n").encode()
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if packed else data)
        return path

    return write


def call(tool: str, arguments: str = "{}", call_id: str | None = "") -> str:
    function = f'{{"name": "{tool}", "arguments": {arguments}}}'
    return f'{{"id": {json.dumps(call_id)}, "type": "function", "function": {function}}}'


def assistant(*calls: str, words: str | None = None) -> str:
    return f'{{"role": "assistant", "content": {json.dumps(words)}, "tool_calls": [{", ".join(calls)}]}}'


def answer(text: str, call_id: str | None = None, error: str | None = None) -> str:
    return json.dumps({"role": "tool", "content": text, "tool_call_id": call_id, "error": error})


def user(text: str) -> str:
    return json.dumps({"role": "user", "content": text})


def dojo(*messages: str, **metadata: Any) -> str:
    marks = json.dumps({"suite_name": "banking", "user_task_id": "user_task_0", "injection_task_id": None} | metadata)
    return f'{{"index": 1, "messages": [{", ".join(messages)}], "metadata": {marks}, "annotations": []}}'


def only(path: Path, counts: ReadCounts | None = None) -> RecordedRun:
    (run,) = read_runs(path, counts)
    return run


# -- the three recordings, told apart by content ------------------------------------------------------


def test_agentdojo_summary_is_counted_and_is_no_run(write: Write) -> None:
    path = write(SUMMARY, dojo(user("Pay the bill"), assistant(call("get_iban"))), dojo(user("Again")))
    counts = ReadCounts()
    first, second = read_runs(path, counts)
    assert (first.ordinal, second.ordinal) == (1, 2)
    assert (first.suite, first.request, first.file_name) == ("banking", "Pay the bill", "runs.jsonl")
    assert second.calls == ()
    assert (counts.runs, counts.summaries, counts.calls) == (2, 1, 1)


def test_digest_is_of_the_stored_file_and_gzip_is_known_by_its_bytes(write: Write) -> None:
    path = write(SUMMARY, dojo(assistant(call("get_iban"))), name="no-extension", packed=True)
    assert only(path).file_digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_tau_bench_array_with_string_arguments_and_domain_from_its_system_prompt(write: Write) -> None:
    arguments = '{"user_id":"mia", "amount": 98.70}'
    certificate = {"name": "send_certificate", "arguments": arguments}
    messages = [
        {"role": "system", "content": "# Airline Agent Policy\n\nThe current time is late."},
        {"role": "user", "content": "A certificate, please."},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "function": certificate}]},
        {"role": "tool", "tool_call_id": "c1", "content": "Error: user not found"},
    ]
    record = {"task_id": 7, "trial": 2, "reward": 0.0, "info": {"task": {}}, "traj": messages}
    run = only(write(json.dumps([record], indent=2), name="x.json"))
    assert run.suite == "airline"
    assert run.metadata == {"task_id": 7, "trial": 2, "reward": 0.0}
    (made,) = run.calls
    assert made.arguments == arguments.encode()
    assert made.result == "Error: user not found"
    assert made.error


def test_tau_bench_without_a_named_domain_has_no_suite(write: Write) -> None:
    record = {
        "task_id": 1,
        "traj": [{"role": "system", "content": "You help."}, {"role": "user", "content": "Hi"}],
    }
    assert only(write(json.dumps([record]))).suite is None


@pytest.mark.parametrize("layout", ["line", "object", "array", "bare", "pretty array", "pretty object"])
def test_openai_messages_in_every_layout(write: Write, layout: str) -> None:
    proposed = assistant(call("search", '{"q": 1}'))
    messages = json.loads(f"[{user('Hello')}, {proposed}, {answer('found')}]")
    texts = {
        "line": json.dumps({"messages": messages}),
        "object": json.dumps({"messages": messages}),
        "array": json.dumps([{"messages": messages}]),
        "bare": json.dumps(messages),
        "pretty array": json.dumps([{"messages": messages}], indent=1),
        "pretty object": json.dumps({"messages": messages}, indent=1),
    }
    path = write(texts[layout])
    run = only(path)
    assert count_runs(path) == 1
    assert (run.suite, run.request) == (None, "Hello")
    assert [(made.tool, json.loads(made.arguments), made.result) for made in run.calls] == [
        ("search", {"q": 1}, "found")
    ]


def test_older_function_call_messages_are_calls_too(write: Write) -> None:
    messages = [
        {"role": "assistant", "content": None, "function_call": {"name": "pay", "arguments": '{"n": 1}'}},
        {"role": "function", "name": "pay", "content": "paid"},
    ]
    run = only(write(json.dumps({"messages": messages})))
    assert [(made.tool, made.arguments, made.result) for made in run.calls] == [("pay", b'{"n": 1}', "paid")]


def test_text_in_content_parts_is_read(write: Write) -> None:
    parts = json.dumps({"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image_url"}]})
    assert only(write(f'{{"messages": [{parts}]}}')).request == "Look\n"


# -- results pair by order ----------------------------------------------------------------------------


@pytest.mark.parametrize("call_id", ["", None])
def test_results_pair_by_order_where_ids_are_empty_or_missing(write: Write, call_id: str | None) -> None:
    a, b = call("a", call_id=call_id), call("b", call_id=call_id)
    answers = [answer(text, call_id) for text in ("of a", "of b", "of a again")]
    path = write(dojo(assistant(a, b), *answers[:2], assistant(a), answers[2]))
    assert [(made.ordinal, made.tool, made.result) for made in only(path).calls] == [
        (1, "a", "of a"), (2, "b", "of b"), (3, "a", "of a again"),
    ]  # fmt: skip


def test_calls_without_result_stay_without(write: Write) -> None:
    counts = ReadCounts()
    run = only(write(dojo(assistant(call("a"), call("b"), call("c")), answer("of a"))), counts)
    assert [(made.result, made.error) for made in run.calls] == [
        ("of a", False),
        (None, False),
        (None, False),
    ]
    assert counts.calls_without_result == 2


def test_an_empty_result_is_a_result(write: Write) -> None:
    assert only(write(dojo(assistant(call("a")), answer("")))).calls[0].result == ""


def test_a_result_that_nothing_asked_for_is_counted(write: Write) -> None:
    counts = ReadCounts()
    run = only(write(dojo(answer("stray"), assistant(call("a")), answer("of a"), answer("late"))), counts)
    assert [made.result for made in run.calls] == ["of a"]
    assert counts.results_without_call == 2


def test_ids_that_contradict_the_order_are_counted(write: Write) -> None:
    counts = ReadCounts()
    calls = assistant(call("a", call_id="1"), call("b", call_id="2"))
    run = only(write(dojo(calls, answer("x", "2"), answer("y", "1"))), counts)
    assert [made.result for made in run.calls] == ["x", "y"]
    assert counts.results_out_of_order == 1


def test_an_error_beside_an_empty_content_is_the_result(write: Write) -> None:
    run = only(write(dojo(assistant(call("a")), answer("", error="ValueError: no such file"))))
    assert (run.calls[0].result, run.calls[0].error) == ("ValueError: no such file", True)


# -- what the model wrote, unmended -------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [
    '{"amount": 98.7}', '{"amount": 100.0}', '{"amount": 98.70}', '{"amount": 1e2}',
    '{"amount": 0.1000000000000000055}',
    '{"amount": 12345678901234567890123}', '{"amount": null, "amount": 1}', '{"a": {"b": [1, 2.50]}}',
    "{}", "null", "[]", '{"text": "caf\\u00e9 ü"}',
])  # fmt: skip
def test_arguments_keep_their_recorded_text(write: Write, arguments: str) -> None:
    given = dojo(assistant(call("pay", arguments)))
    assert only(write(given)).calls[0].arguments == arguments.encode()
    as_string = dojo(assistant(call("pay", json.dumps(arguments))))
    assert only(write(as_string)).calls[0].arguments == arguments.encode()


def test_string_arguments_that_are_no_json_pass_on_to_the_gate(write: Write) -> None:
    assert only(write(dojo(assistant(call("pay", '"{not json"'))))).calls[0].arguments == b"{not json"
    assert only(write(dojo(assistant(call("pay", '""'))))).calls[0].arguments == b""


@pytest.mark.parametrize(("words", "kept"), [(None, None), ("", None), (" \n", None), ("I will pay.", "I will pay.")])
def test_words_of_every_call_in_the_message(write: Write, words: str | None, kept: str | None) -> None:
    counts = ReadCounts()
    run = only(write(dojo(assistant(call("a"), call("b"), words=words))), counts)
    assert [made.words for made in run.calls] == [kept, kept]
    assert counts.calls_without_words == (2 if kept is None else 0)


def test_request_is_the_first_user_message_and_may_be_absent(write: Write) -> None:
    first, second = read_runs(write(dojo(user("One"), user("Two")), dojo(assistant(call("a")))))
    assert (first.request, second.request) == ("One", None)


def test_metadata_stays_small(write: Write) -> None:
    run = only(write(dojo(user("x"), security=True, long="x" * 500, nested={"a": 1}, utility=0.5)))
    assert run.metadata["security"] is True
    assert run.metadata["utility"] == 0.5
    assert "long" not in run.metadata
    assert "nested" not in run.metadata


# -- whatever is no recording is refused, with its place ----------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        list(read_runs(path))
    return caught.value.message


@pytest.mark.parametrize(("second", "complaint"), [
    ('{"messages": [', "line 2"),
    ("[]", "line 2"),
    ('{"messages": 5}', "messages"),
    ('{"steps": []}', "neither `messages` nor `traj`"),
    (SUMMARY, "neither `messages` nor `traj`"),
    ('{"messages": [{"content": "x"}]}', "role"),
    ('{"messages": [{"role": "wizard", "content": "x"}]}', "message 1: unknown role 'wizard'"),
    (dojo(assistant('{"id": "1", "function": {"name": "a"}}')), "arguments"),
    (dojo(assistant(call(""))), "message 1: a call without the name of a tool"),
    ('{"messages": [{"role": "assistant", "content": [{"type": "tool_use", "name": "pay"}]}]}', "tool_use"),
    ('{"messages": [{"role": "user", "content": "\\ud800"}]}', "line 2"),
    ('{"messages": [{"role": "user", "content": NaN}]}', "line 2"),
    ('{"messages": ' + "[" * 100_000, "line 2"),
])  # fmt: skip
def test_a_malformed_line_is_named_and_nothing_is_left_out(write: Write, second: str, complaint: str) -> None:
    message = refusal(write(dojo(user("fine")), second, dojo(user("fine too"))))
    assert "runs.jsonl, line 2" in message
    assert complaint in message


@pytest.mark.parametrize("text", ["", "\n\n", "hello", '"text"', "7", "%PDF-1.7", "\x00\x01", "messages: []"])
def test_what_is_no_recording_is_refused(write: Write, text: str) -> None:
    assert "runs.jsonl" in refusal(write(text))


@pytest.mark.parametrize("text", ["[]", SUMMARY])
def test_a_file_without_a_run_is_refused(write: Write, text: str) -> None:
    assert "no recorded run" in refusal(write(text))


def test_an_array_item_is_named(write: Write) -> None:
    assert "item 2" in refusal(write('[{"messages": []}, {"failures": []}]'))


def test_a_cut_array_is_refused(write: Write) -> None:
    refusal(write('[{"messages": []}, {"messages"'))


def test_a_cut_gzip_is_refused_after_the_runs_before_the_cut(write: Write) -> None:
    path = write(*[dojo(user(hashlib.sha256(bytes([n])).hexdigest() * 40)) for n in range(200)], packed=True)
    path.write_bytes(path.read_bytes()[:-20])
    assert "cut off or damaged" in refusal(path)


def test_a_damaged_gzip_is_refused(write: Write) -> None:
    path = write(*[dojo(user(str(n))) for n in range(50)], packed=True)
    data = bytearray(path.read_bytes())
    data[-8] ^= 1  # the checksum
    path.write_bytes(bytes(data))
    assert "cut off or damaged" in refusal(path)


def test_an_endless_line_is_refused(write: Write) -> None:
    long = '{"messages": [], "x": "' + "x" * LINE_LIMIT_BYTES + '"}'
    assert "line 2: longer than 32 MiB" in refusal(write(dojo(user("fine")), long, packed=True))


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_bytes(b'{"messages": [{"role": "user", "content": "\xff"}]}\n')
    assert "runs.jsonl, line 1" in refusal(path)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        list(read_runs(tmp_path / "absent.jsonl"))
    with pytest.raises(InputError, match="Is a directory"):
        list(read_runs(tmp_path))


def test_blank_lines_are_counted(write: Write) -> None:
    counts = ReadCounts()
    path = write("", dojo(user("a")), "", "  ", dojo(user("b")))
    assert [run.ordinal for run in read_runs(path, counts)] == [1, 2]
    assert counts.blank_lines == 3
    assert count_runs(path) == 2


def test_lines_are_read_one_at_a_time(write: Write) -> None:
    path = write(dojo(user("good")), "broken")
    runs = read_runs(path)
    assert next(runs).request == "good"
    with pytest.raises(InputError, match="line 2"):
        next(runs)
