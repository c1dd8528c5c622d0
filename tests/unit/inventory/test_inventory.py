"""The inventory: whoever left a trace is listed, and what cannot be read is not taken for nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from failwell.inventory import configurations, telemetry
from failwell.inventory.comparing import Inventory, Registered, compare
from failwell.inventory.sighting import Found, Sighting

FULL = "spiffe://shop.example/agent/{}"
NANO = 1_795_000_000_000_000_000


def registered(name: str, authority: str, **more: Any) -> Registered:
    given: dict[str, Any] = {
        "agent": FULL.format(name), "name": name, "owner": "anna", "authority": authority, "contract": True,
        "detect_only": False, "observed_until": None, "seen_at": None, **more,
    }  # fmt: skip
    return Registered(**given)


def states(made: Inventory) -> dict[str, str]:
    return {line.name: line.state for line in made.lines}


def span(name: str | None = None, *, key: str = "gen_ai.agent.name", service: str | None = "shop") -> dict[str, Any]:
    own = [] if name is None else [{"key": key, "value": {"stringValue": name}}]
    own.append({"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}})
    resource = [] if service is None else [{"key": "service.name", "value": {"stringValue": service}}]
    spans = [{"name": "chat", "endTimeUnixNano": str(NANO), "attributes": own}]
    return {"resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": [{"spans": spans}]}]}


@pytest.mark.requirement("R32.1")
def test_every_agent_is_listed_with_its_state_and_unknown_where_that_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "broken" / ".claude" / "agents").mkdir(parents=True)
    (tmp_path / "broken" / ".mcp.json").write_text("{")
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"planner": "./a.py:g", "refund-bot": "./b.py:g"}}))
    known = [
        registered("refund-bot", "ACTIVE"), registered("old-bot", "OBSERVED", observed_until="2026-12-24T00:00:00Z"),
        registered("vendor-bot", "REGISTERED", detect_only=True, contract=False),
        registered("new-bot", "REGISTERED", contract=False), registered("bad-bot", "SUSPENDED"),
    ]  # fmt: skip
    nameless = Sighting(name=None, how="calls", where="the record", what="refused: no proof of identity", count=9)
    stranger = Sighting(name="ghost", how="calls", where="the record", what="denied on record")
    found = configurations.search([tmp_path]) + Found(sightings=(nameless, stranger))
    made = compare(known, found)
    assert states(made) == {
        "refund-bot": "governed", "old-bot": "observed", "vendor-bot": "detect-only",
        "new-bot": "registered without contract", "bad-bot": "stopped", "planner": "seen, not registered",
        "ghost": "seen, not registered", "?": "unknown",
    }  # fmt: skip
    assert made.counts["unknown"] == 2, "callers without a name, and a file that cannot be read"
    assert made.ungoverned == 7
    assert [line.state for line in made.lines][:2] == ["seen, not registered"] * 2, "what nobody governs comes first"


def test_agents_are_found_in_the_configuration_of_known_frameworks(tmp_path: Path) -> None:
    files = {
        ".mcp.json": '{"mcpServers": {"files": {"command": "x"}}}',
        "a/.cursor/mcp.json": '{\n // ours\n "mcpServers": {"web": {"url": "http://x//y"}} /* end */}',
        "a/.vscode/mcp.json": '{"servers": {"db": {}}}',
        "b/claude_desktop_config.json": '{"mcpServers": {"mail": {}}}',
        "c/.claude/agents/reviewer.md": "---\nname: code-reviewer\ndescription: looks\n---\nYou review.",
        "c/.claude/settings.json": '{"hooks": {"PreToolUse": []}}',
        "d/config/agents.yaml": "researcher:\n  role: >\n    Senior researcher\nwriter:\n  goal: write\n",
        "e/OAI_CONFIG_LIST": '[{"model": "m-1", "api_key": "sk-secret"}]',
        "e/settings.json": '{"hooks": {"x": 1}}',
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = configurations.search([tmp_path])
    assert found.unreadable == ()
    assert sorted(one.name or "?" for one in found.sightings) == [
        "?", "claude-code", "claude-desktop", "code-reviewer", "cursor", "mcp-client", "researcher", "vscode", "writer",
    ]  # fmt: skip
    told = " ".join(one.what for one in found.sightings)
    assert "MCP client with 1 server: files" in told
    assert "hooks: PreToolUse" in told
    assert "m-1" in told
    assert "sk-secret" not in told, "no secret is carried off"


def test_files_that_fight_back_are_told_and_stop_nothing(tmp_path: Path) -> None:
    """Attack: loops of links, pipes, giants, depth without end, tags that construct, aliases that multiply."""
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "again").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "mcp.json")
    (tmp_path / "langgraph.json").symlink_to("/etc/passwd")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / ".mcp.json").write_text("[" * 100_000)
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / ".mcp.json").write_text("/*" * 1_000_000)
    (tmp_path / "open" / "mcp.json").write_text('"' + '\\"' * 1_000_000)
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "langgraph.json").write_bytes(b" " * (4 * 1024 * 1024 + 1))
    for name, text in {
        "tag": "a: !!python/object/apply:os.system ['touch here']\n", "laughs": "a: &a [x, x]\nb: [*a, *a]\n",
        "shape": "- just\n- a list\n", "latin": "\xff",
    }.items():  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / "agents.yaml").write_bytes(text.encode("latin-1"))
    (tmp_path / "node_modules" / "x").mkdir(parents=True)
    found = configurations.search([tmp_path, tmp_path / "nowhere", tmp_path / "loop" / "again" / "tag" / "agents.yaml"])
    why = {Path(place.where).relative_to(tmp_path).as_posix(): place.why for place in found.unreadable}
    assert found.sightings == ()
    assert why["mcp.json"] == "is not a regular file"
    assert "symbolic link is not followed" in why["langgraph.json"]
    assert "symbolic link to a directory is not followed" in why["loop/again"]
    assert "more than 4,194,304 bytes" in why["big/langgraph.json"]
    assert "not UTF-8" in why["latin/agents.yaml"]
    assert "1 directories" in why["."]
    told = {"open/.mcp.json", "open/mcp.json", "deep/.mcp.json", "tag/agents.yaml", "laughs/agents.yaml", "nowhere"}
    assert told <= why.keys()


def test_agents_are_found_in_telemetry_by_name_id_or_service(tmp_path: Path) -> None:
    whole, lines, odd = tmp_path / "otlp.json", tmp_path / "spans.jsonl", tmp_path / "odd.jsonl"
    whole.write_text(json.dumps([span("planner"), span("planner"), span()], indent=1))
    plain = {"name": "x", "attributes": {"gen_ai.agent.id": "a-7", "gen_ai.usage.input_tokens": 5}}
    http = {"name": "GET", "attributes": {"http.method": "GET"}}
    rows = [span("writer"), plain, http, span(service=None)]
    lines.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    odd.write_text(json.dumps(span("late")) + "\nnot json\n" + json.dumps({"other": 1}) + "\n")
    found = telemetry.search([whole, lines, odd, tmp_path / "none.json"])
    told = {(one.name, Path(one.where).name): one for one in found.sightings}
    assert set(told) == {
        ("planner", "otlp.json"), ("shop", "otlp.json"), ("writer", "spans.jsonl"), ("a-7", "spans.jsonl"),
        (None, "spans.jsonl"), ("late", "odd.jsonl"),
    }  # fmt: skip
    assert told["planner", "otlp.json"].count == 2
    assert told["planner", "otlp.json"].at == "2026-11-18T11:06:40.000000Z"
    assert told["a-7", "spans.jsonl"].at is None
    assert {Path(place.where).name for place in found.unreadable} == {"odd.jsonl", "none.json"}


def test_telemetry_that_fights_back_is_told(tmp_path: Path) -> None:
    cases: dict[str, bytes] = {
        "deep.json": b"[" * 200_000, "text.json": b"hello", "empty.json": b"", "shape.json": b'{"resourceSpans": 7}',
        "bad-time.json": json.dumps(
            {"attributes": {"gen_ai.agent.name": "x\x1b[2J"}, "endTimeUnixNano": "9" * 400}
        ).encode(),
    }  # fmt: skip
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
    found = telemetry.search([tmp_path / name for name in cases])
    assert [(one.name, one.at) for one in found.sightings] == [("x\x1b[2J", None)]
    assert {Path(place.where).name for place in found.unreadable} == set(cases) - {"bad-time.json"}
