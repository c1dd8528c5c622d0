"""What happened in an incident as an event of the Open Cybersecurity Schema Framework: class 2005, Incident Finding.

Source: schema.ocsf.io, version 1.2.0, "Incident Finding". What the schema has no place for stands in `unmapped`.
"""

from __future__ import annotations

import json
from typing import Any, Final

from failwell.core.instants import format_at
from failwell.core.machines import CASE_OVER
from failwell.notify.message import clean_line
from failwell.ports.systems import Happening

VERSION: Final = "1.2.0"
CLASS, CATEGORY = 2005, 2
CREATE, UPDATE, CLOSE, OTHER = 1, 2, 3, 99
_ACTIVITY: Final = {CREATE: "Create", UPDATE: "Update", CLOSE: "Close", OTHER: "Other"}
SEVERITY: Final = {"minor": (2, "Low"), "major": (4, "High"), "critical": (5, "Critical")}
_STATUS: Final = {"OPEN": (1, "New"), "RESOLVED": (4, "Resolved")}
MAX_TITLE, MAX_DETAIL = 300, 1000


def event_of(happening: Happening) -> dict[str, Any]:
    """The event of one happening."""
    severity_id, severity = SEVERITY.get(happening.severity, (99, "Other"))
    status_id, status = (
        (5, "Closed") if happening.state in CASE_OVER else _STATUS.get(happening.state, (2, "In Progress"))
    )
    activity = _activity(happening)
    title = clean_line(happening.title, MAX_TITLE)
    said = clean_line(f"{happening.what}: {happening.detail}".removesuffix(": "), MAX_DETAIL)
    return {
        **_base(activity, happening.at_us, happening.key, happening.seq, happening.kind),
        "severity_id": severity_id, "severity": severity,
        "status_id": status_id, "status": status, "status_detail": clean_line(happening.state, 100),
        "assignee_group": {"name": f"on call for {clean_line(happening.agent_name, 200) or 'no agent that is known'}"},
        "message": said, "desc": title, "start_time": happening.opened_us // 1000,
        "finding_info_list": [
            {
                "uid": happening.thread, "title": title, "created_time": happening.opened_us // 1000,
                "types": [clean_line(happening.kind, 100)],
            }
        ],
        "unmapped": {
            "failwell": {
                "origin": happening.origin, "incident": happening.incident, "seq": happening.seq,
                "leaf": happening.leaf, "checkpoint": happening.checkpoint, "at": format_at(happening.at_us),
                "actor": clean_line(happening.actor, 200), "agent": clean_line(happening.agent, 200),
                "agent_name": clean_line(happening.agent_name, 200), "state": happening.state,
            }
        },
    }  # fmt: skip


def probe_of(origin: str, at_us: int) -> dict[str, Any]:
    """An event that is about no incident: it shows that the way is open."""
    return {
        **_base(OTHER, at_us, f"probe-{at_us}", 0, "probe"),
        "severity_id": 1, "severity": "Informational", "status_id": 99, "status": "Other",
        "message": "Failwell was asked to show that it reaches this system. Nothing happened.",
        "assignee_group": {"name": "whoever asked"},
        "finding_info_list": [{"uid": f"probe-{at_us}", "title": "Probe"}],
        "unmapped": {"failwell": {"origin": origin}},
    }  # fmt: skip


def line_of(event: dict[str, Any]) -> str:
    """One line of JSON, in ASCII alone: nothing in it ends a line, whatever an agent wrote."""
    return json.dumps(event, ensure_ascii=True, separators=(",", ":"))


def _base(activity: int, at_us: int, key: str, seq: int, code: str) -> dict[str, Any]:
    return {
        "activity_id": activity, "activity_name": _ACTIVITY[activity],
        "category_uid": CATEGORY, "category_name": "Findings", "class_uid": CLASS, "class_name": "Incident Finding",
        "type_uid": CLASS * 100 + activity, "type_name": f"Incident Finding: {_ACTIVITY[activity]}",
        "time": at_us // 1000,
        "metadata": {
            "version": VERSION, "uid": key, "sequence": seq, "event_code": code,
            "product": {"name": "Failwell", "vendor_name": "Failwell"},
        },
    }  # fmt: skip


def _activity(happening: Happening) -> int:
    if happening.kind == "incident.opened":
        return CREATE
    ended = happening.kind in {"incident.changed", "incident.merged"} and happening.state in CASE_OVER
    return CLOSE if ended else UPDATE
