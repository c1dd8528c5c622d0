"""Other systems against real desks and servers: one ticket for an incident, hostile text inert, failures told."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema  # type: ignore[import-untyped]

from failwell.core.errors import InputError
from failwell.notify import ocsf
from failwell.notify.jira import Jira, quoted
from failwell.notify.lines import Lines
from failwell.notify.pinned import Endpoint
from failwell.notify.servicenow import ServiceNow, inert
from failwell.notify.syslog import Syslog, message, parse_place
from failwell.notify.tickets import Desk
from failwell.ports.notifier import NotifyFailed
from failwell.ports.systems import Happening
from tests import receivers
from tests.desks import SECRET, JiraDesk, ServiceNowDesk, SyslogServer
from tests.receivers import receiving

LOCAL = (ipaddress.ip_network("127.0.0.0/8"),)
NOW_US = 1_795_500_000_000_000
HOSTILE = "bot said {noformat}[~admin] !http://evil.example/x.png! [code]<img src=x>[/code]\r\n\u2028\x1b[2J\u202edone"
SCHEMA = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=ocsf.VERSION)).get_class_schema("incident_finding", profiles=[])


class Stopped:
    def wall_us(self) -> int:
        return NOW_US


CLOCK: Any = Stopped()


def happening(**given: Any) -> Happening:
    plain: dict[str, Any] = {
        "key": "told-1", "thread": "failwell-x-1", "origin": "failwell/x", "seq": 7, "leaf": "ab" * 32,
        "checkpoint": "failwell/x\n8\nroot\n\n- failwell/x sig\n", "kind": "incident.opened", "at_us": NOW_US,
        "actor": "node", "what": "incident opened", "detail": HOSTILE, "incident": 1, "title": HOSTILE,
        "severity": "major", "state": "OPEN", "opened_us": NOW_US, "agent": "x/refund-bot", "agent_name": "refund-bot",
    }  # fmt: skip
    return Happening(**(plain | given))


def desk(receiver: receivers.Receiver, deadline_s: float = 3.0) -> Desk:
    endpoint = Endpoint(f"http://127.0.0.1:{receiver.port}", allow=LOCAL, deadline_s=deadline_s)
    return Desk(endpoint, lambda: SECRET + "\n", "Desk")


# ---- events ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R33.10")
@pytest.mark.parametrize(
    ("kind", "state", "activity", "status"),
    [
        ("incident.opened", "OPEN", 1, 1), ("incident.noted", "INVESTIGATING", 2, 2),
        ("incident.changed", "RESOLVED", 2, 4), ("incident.changed", "CLOSED", 3, 5),
        ("incident.merged", "MERGED", 3, 5), ("incident.noted", "CLOSED", 2, 5),
    ],
)  # fmt: skip
def test_an_event_is_what_the_schema_says(kind: str, state: str, activity: int, status: int) -> None:
    event = ocsf.event_of(happening(kind=kind, state=state))
    jsonschema.validate(event, SCHEMA)
    assert (event["activity_id"], event["type_uid"], event["status_id"]) == (activity, 200_500 + activity, status)
    assert (event["time"], event["metadata"]["sequence"]) == (NOW_US // 1000, 7)
    assert event["unmapped"]["failwell"]["checkpoint"].startswith("failwell/x\n8\n")


def test_what_shows_that_the_way_is_open_is_an_event_too() -> None:
    jsonschema.validate(ocsf.probe_of("failwell/x", NOW_US), SCHEMA)


@pytest.mark.parametrize("severity", ["minor", "major", "critical", "what a later release says"])
def test_every_severity_has_its_number(severity: str) -> None:
    jsonschema.validate(ocsf.event_of(happening(severity=severity)), SCHEMA)


@pytest.mark.requirement("R33.10")
def test_nothing_that_an_agent_wrote_ends_a_line(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    lines = Lines(file, "failwell/x", CLOCK)
    for seq in range(3):
        assert lines.take(happening(seq=seq), None) is None
    told = [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]]
    assert [event["metadata"]["sequence"] for event in told] == [0, 1, 2]
    assert file.read_bytes().isascii()
    assert b"\x1b" not in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_half_a_line_that_a_power_cut_left_spoils_only_itself(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(b'{"activity_id":1,"cat')
    Lines(file, "failwell/x", CLOCK).take(happening(), None)
    assert json.loads(file.read_bytes().splitlines()[1])["metadata"]["sequence"] == 7


@pytest.mark.parametrize("what", ["link", "directory", "pipe", "missing"])
def test_a_place_that_is_no_file_is_not_written_to(tmp_path: Path, what: str) -> None:
    place = tmp_path / "events.jsonl"
    other = tmp_path / "other"
    other.write_text("somebody else's")
    if what == "link":
        place.symlink_to(other)
    elif what == "directory":
        place.mkdir()
    elif what == "pipe":
        os.mkfifo(place)
    else:
        place = tmp_path / "nowhere" / "events.jsonl"
    with pytest.raises(NotifyFailed):
        Lines(place, "failwell/x", CLOCK).take(happening(), None)
    assert other.read_text() == "somebody else's"


# ---- syslog ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_a_syslog_server_gets_a_message_of_its_standard(tmp_path: Path, tls: bool) -> None:
    context, ca_file = receivers.authority(tmp_path) if tls else (None, None)
    server = SyslogServer(tls=context)
    try:
        place = parse_place(f"syslog+{'tls' if tls else 'tcp'}://127.0.0.1:{server.port}")
        assert Syslog(place, "failwell/x", CLOCK, ca_file=ca_file).take(happening(), None) is None
        (told,) = server.messages
    finally:
        server.close()
    header, _, event = told.partition(" - {")
    fields = header.split(" ")
    assert fields[0] == "<107>1"  # log audit, error
    assert fields[1].startswith("2026-")
    assert fields[1].endswith("Z")
    assert fields[3:] == ["failwell", "-", "incident.opened"]
    jsonschema.validate(json.loads("{" + event), SCHEMA)
    assert told.isascii()
    assert "\n" not in told


@pytest.mark.requirement("R33.12")
@pytest.mark.parametrize("bad", ["resets", "silent"])
def test_what_a_syslog_server_did_not_read_to_its_end_is_not_told(bad: str) -> None:
    server = SyslogServer(resets=bad == "resets", silent=bad == "silent")
    try:
        syslog = Syslog(parse_place(f"syslog+tcp://127.0.0.1:{server.port}"), "failwell/x", CLOCK, deadline_s=0.5)
        with pytest.raises(NotifyFailed) as failed:
            syslog.take(happening(), None)
        assert failed.value.temporary
    finally:
        server.close()


def test_a_syslog_server_that_nobody_vouches_for_is_told_nothing(tmp_path: Path) -> None:
    context, _ = receivers.authority(tmp_path)
    server = SyslogServer(tls=context)
    try:
        syslog = Syslog(parse_place(f"syslog+tls://127.0.0.1:{server.port}"), "failwell/x", CLOCK)
        with pytest.raises(NotifyFailed, match="certificate"):
            syslog.take(happening(), None)
        assert server.messages == []
    finally:
        server.close()


def test_the_socket_of_this_machine_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "log"))
        Syslog(parse_place(f"syslog:{tmp_path}/log"), "failwell/x", CLOCK).take(happening(), None)
        assert daemon.recv(65536).startswith(b"<107>1 ")
    with pytest.raises(NotifyFailed):
        Syslog(parse_place(f"syslog:{tmp_path}/log"), "failwell/x", CLOCK).take(happening(), None)


def test_a_header_of_syslog_takes_no_blank_from_a_kind() -> None:
    assert message(3, NOW_US, "a b\nc" * 20, "{}").split(" ")[5] == ("a-b-c" * 20)[:32]


@pytest.mark.parametrize(
    "text",
    [
        "syslog+tcp://logs.example:601", "syslog+udp://127.0.0.1", "syslog://127.0.0.1", "syslog+tls://", "syslog:log",
        "syslog+tls://u:p@logs.example", "syslog+tls://logs.example/path", "syslog+tls://logs.example:x",
    ],
)  # fmt: skip
def test_what_is_no_syslog_server_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_place(text)


# ---- tickets -----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R33.8")
@pytest.mark.parametrize("kind", ["servicenow", "jira", "jira server"])
def test_an_incident_has_one_ticket_and_a_note_for_all_that_follows(kind: str) -> None:
    behave: Any = ServiceNowDesk() if kind == "servicenow" else JiraDesk(cloud=kind == "jira")
    with receiving(behave) as receiver:
        system: Any = ServiceNow(desk(receiver)) if kind == "servicenow" else Jira(desk(receiver), "OPS", "Task")
        name = system.take(happening(), None)
        assert system.take(happening(seq=8, kind="incident.noted"), name) == name
        # The node died before it put the name on record: it asks, and makes no second one.
        assert system.take(happening(seq=8, kind="incident.noted"), None) == name
        assert system.take(happening(incident=2, thread="failwell-x-2"), None) != name
        assert system.probe().startswith("200")
    made = behave.records if kind == "servicenow" else behave.issues
    assert len(made) == 2
    notes = made[name]["work_notes" if kind == "servicenow" else "comments"]
    assert len(notes) == 2
    assert all("Entry 8 of failwell/x, leaf " + "ab" * 32 in note and "failwell/x\n8\nroot" in note for note in notes)


@pytest.mark.parametrize("kind", ["servicenow", "jira"])
def test_a_ticket_that_was_deleted_there_is_made_anew(kind: str) -> None:
    behave: Any = ServiceNowDesk() if kind == "servicenow" else JiraDesk()
    with receiving(behave) as receiver:
        system: Any = ServiceNow(desk(receiver)) if kind == "servicenow" else Jira(desk(receiver), "OPS", "Task")
        assert system.take(happening(), "GONE-1") is not None
    assert len(behave.records if kind == "servicenow" else behave.issues) == 1


@pytest.mark.requirement("R33.9")
def test_hostile_text_is_shown_by_no_desk_as_more_than_text() -> None:
    text = quoted(HOSTILE + "{ noformat}{NoFormat:nopanel=true}")
    assert text.lower().count("{noformat") == 2, "ours, and none within"
    assert "[~" not in text
    assert "[code" not in inert(HOSTILE + "[CODE]").lower()
    assert "[ / code" not in inert("[ / code ]")
    for desk_behave, make, marks in (
        (ServiceNowDesk(), ServiceNow, ["[code]", "[/code]"]),
        (JiraDesk(), lambda at: Jira(at, "OPS", "Task"), ["[~", "{noformat}[", "{noformat} ["]),
    ):
        with receiving(desk_behave) as receiver:
            make(desk(receiver)).take(happening(), None)
            sent = receiver.received[-1].json
        fields = sent.get("fields", sent)
        fields.pop("summary", None)  # which Jira shows as it is
        told = json.dumps(fields).lower()
        assert [mark for mark in (*marks, "\\u202e", "\\u001b", "\\u2028") if mark in told] == []


@pytest.mark.parametrize("kind", ["servicenow", "jira"])
@pytest.mark.parametrize(
    "behave",
    [
        receivers.status(200, b"{}"), receivers.status(200, b"welcome"), receivers.status(201, b'{"result":{}}'),
        receivers.status(200, b'{"result":[{"sys_id":"../../x"}],"issues":[{"key":"../admin"}]}'),
        receivers.status(302, location="http://169.254.169.254/"), receivers.status(500), receivers.status(401),
        receivers.cut, receivers.hang, receivers.drip(),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_of_a_desk_is_a_failure(kind: str, behave: Any) -> None:
    with receiving(behave) as receiver:
        at = desk(receiver, deadline_s=0.4)
        system: Any = ServiceNow(at) if kind == "servicenow" else Jira(at, "OPS", "Task")
        for theirs in (None, "OPS-1"):
            with pytest.raises(NotifyFailed):
                system.take(happening(), theirs)
        with pytest.raises(NotifyFailed):
            Jira(at, "OPS", "Task").probe()


@pytest.mark.requirement("R33.9")
def test_a_desk_that_repeats_our_secret_puts_it_into_no_error() -> None:
    def echo(handler: receivers.Handler) -> None:
        handler.answer(403, str(handler.headers).encode())

    with receiving(echo) as receiver, pytest.raises(NotifyFailed) as failed:
        ServiceNow(desk(receiver)).take(happening(), None)
    assert "ZmFpbHdlbGw6czNjcjN0" not in failed.value.message


def test_a_secret_that_would_end_the_header_is_refused() -> None:
    with receiving() as receiver:
        at = Desk(Endpoint(f"http://127.0.0.1:{receiver.port}", allow=LOCAL), lambda: "tok\r\nX-Evil", "Desk")
        with pytest.raises(NotifyFailed, match="secret"):
            at.ask("GET", "/")
        assert receiver.received == []
