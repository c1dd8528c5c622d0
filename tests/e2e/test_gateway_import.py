"""From a client's configuration to governed tools, as a person does it: published servers that have never heard of us
are imported, observed, bound by the drafted contract, and driven by the protocol's own client through the new
configuration that the import wrote.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.integration.shell import Shell, open_shell, tool_processes, wait_until

SECRET = "ghp_Zx81kQm2Lw90TtRe4bNs"  # of nobody
PAGE = "<html><body>" + "<p>All of this was on a page of our own.</p>" * 6_000 + "</body></html>"
#: What the owner adds to the draft: where files may be read and written at all.
CLAUSES = """
clauses:
  - id: only-below
    deny: [files.read_file, files.write_file, files.list_directory]
    when: '!(context.args.path like "{below}/*")'
    because: "Only files of this task."
  - id: own-repository
    deny: [git.git_status, git.git_log, git.git_show, git.git_commit, git.git_add]
    when: context.args.repo_path != "{repository}"
"""
#: A memory of a few lines. It answers what it was called with.
MEMORY = """\
import json, sys
text = {"type": "string"}
tool = {"name": "delete_entities", "description": "Delete.", "inputSchema": {
    "type": "object", "required": ["entityNames", "dryRun"],
    "properties": {"entityNames": {"type": "array", "items": text, "maxItems": 9}, "dryRun": {"type": "boolean"},
                   "factsPaid": {"type": "integer", "minimum": 0, "maximum": 99}},
}}
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    answers = {
        "initialize": lambda: {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                               "serverInfo": {"name": "memory", "version": "1"}},
        "tools/list": lambda: {"tools": [tool]},
        "tools/call": lambda: {"content": [{"type": "text", "text": json.dumps(asked["params"]["arguments"])}]},
    }
    known = answers.get(asked["method"])
    body = {"error": {"code": -32601, "message": "no"}} if known is None else {"result": known()}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **body}), flush=True)
"""
MEMORY_RULES = """
clauses:
  - {id: for-real, escalate: memory.delete_entities, when: "!context.args.dryRun"}
limits:
  - {id: same-ones, once_per: memory.delete_entities, keys: [entityNames, dryRun], then: deny}
examples:
  - {tool: memory.delete_entities, arguments: {entityNames: [a], dryRun: true}, expect: ALLOW}
  - {tool: memory.delete_entities, arguments: {entityNames: [a], dryRun: false}, expect: ESCALATE, by: for-real}
  - {tool: memory.delete_entities, arguments: {entityNames: [a], dryrun: true}, expect: DENY, by: arguments}
"""


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/page"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE.encode() if found else b"")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/page"
    server.shutdown()
    server.server_close()


class Desk:
    """A person's machine: a project with a repository, files, and a client that is set up to use tool servers."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        root = shell.root
        self.below, self.repository = root / "task", root / "repository"
        self.below.mkdir()
        (self.below / "note.txt").write_text("Call them back.")
        (root / "private.txt").write_text("Nobody's business.")
        (self.below / "way-out").symlink_to(root)
        self._repository()
        self.old = root / "mcp.json"
        self.old.write_text(self._configuration())
        self.before = self.old.read_bytes()

    def _repository(self) -> None:
        for words in (("init", "-q"), ("commit", "-q", "--allow-empty", "-m", "First")):
            named = ("-c", "user.name=Anna", "-c", "user.email=anna@shop.example")
            self.repository.mkdir(exist_ok=True)
            subprocess.run(["git", *named, *words], cwd=self.repository, check=True, env=self.shell.env)

    def _configuration(self) -> str:
        def python(module: str, *args: str, **more: Any) -> str:
            return json.dumps({"command": sys.executable, "args": ["-m", module, *args], **more})

        return f"""{{
  // what the client of this machine uses
  "mcpServers": {{
    "git": {python("mcp_server_git", "--repository", str(self.repository), env={"GITHUB_TOKEN": SECRET})},
    "time": {python("mcp_server_time", "--local-timezone", "UTC")},
    "Fetch It": {python("mcp_server_fetch", "--allow-private-ips", "--ignore-robots-txt")},
    "files": {python("filesystem_mcp", str(self.below))},
    "broken": {python("no_such_module_at_all")},
    "leaky": {json.dumps({"command": "/bin/true", "args": ["--api-key", SECRET]})},
  }},
}}
"""

    def client(self, name: str) -> contextlib.AbstractAsyncContextManager[Client]:
        """The protocol's client, as the new configuration has it."""
        entry = json.loads((self.shell.root / "mcp.failwell.json").read_text())["mcpServers"][name]
        return _client(entry, self.shell)


@contextlib.asynccontextmanager
async def _client(entry: dict[str, Any], shell: Shell) -> AsyncIterator[Client]:
    plain = {name: value for name, value in shell.env.items() if name in ("PATH", "HOME")}
    asked = StdioServerParameters(command=entry["command"], args=entry["args"], env={**plain, **entry["env"]})
    with open(shell.root / "client.said", "ab") as said:
        async with Client(stdio_client(asked, errlog=said)) as made:  # type: ignore[arg-type]
            yield made


def text(result: Any) -> str:
    return "\n".join(each.text for each in result.content)


def refused(result: Any) -> dict[str, Any]:
    assert result.is_error
    found: dict[str, Any] = result.meta["failwell/refused"]
    return found


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_shell(tmp_path_factory.mktemp("desk")) as shell:
        made = Desk(shell)
        shell("init", str(shell.workspace), "--person", "anna", "--email", "anna@shop.example")
        shell("person", "add", "bert", "--email", "b@shop.example", "--role", "approver", "--as", "anna", "--yes")
        shell("person", "verify", "anna", "--vouch", "--as", "bert", "--yes")
        yield made


@pytest.mark.ci_must_run
@pytest.mark.slow
def test_published_servers_are_imported_observed_and_then_bound_by_the_drafted_contract(desk: Desk, page: str) -> None:
    shell = desk.shell
    told = shell.json("gateway", "import", "mcp.json", "--agent", "desk", "--as", "anna", "--yes")
    imported_as_it_was_found(desk, told)
    asyncio.run(observed(desk, page))
    draft = Path(told["contract"])
    adopt(desk, draft)
    asyncio.run(bound(desk, page))
    wait_until(lambda: not tool_processes(shell))
    shown = {each["server"]: each for each in shell.json("gateway", "show")["servers"]}
    assert set(shown) == {"git", "time", "fetch-it", "files"}
    (offered,) = shown["files"]["tools"][0]["agents"]
    assert (offered["agent"], offered["offered"], offered["custody"]) == ("desk", True, "none: advisory")


def imported_as_it_was_found(desk: Desk, told: dict[str, Any]) -> None:
    workspace = desk.shell.workspace
    assert [each["server"] for each in told["servers"]] == ["git", "time", "fetch-it", "files"]
    assert [each["offered"] == each["pinned"] for each in told["servers"]] == [True] * 4
    failed = {each["client_name"]: each["why"] for each in told["failed"]}
    assert "No module named no_such_module_at_all" in failed["broken"]
    assert "secret" in failed["leaky"]
    assert told["authority"] == "OBSERVED"
    # The one that speaks to the model is shown with its words.
    assert "this tool now grants you" in next(each["quote"] for each in told["remarks"])
    secret = workspace / "secrets" / "git.github_token"
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == (SECRET + "\n", 0o600)
    for file in (workspace / "failwell.toml", Path(told["contract"]), Path(told["configuration"])):
        assert SECRET not in file.read_text(), file
    assert SECRET not in json.dumps(told)
    assert desk.old.read_bytes() == desk.before


async def observed(desk: Desk, page: str) -> None:
    """Nothing is governed yet: tools have their own names and do what they did."""
    async with desk.client("Fetch It") as fetch:
        assert [each.name for each in (await fetch.list_tools()).tools] == ["fetch"]
        prompts = await fetch.list_prompts()
        assert [each.name for each in prompts.prompts] == ["fetch"]
        shown = text(await fetch.call_tool("fetch", {"url": page, "max_length": 200}))
        assert "a page of our own" in shown


def adopt(desk: Desk, draft: Path) -> None:
    """The owner reads the draft and adds what no definition tells; another person puts it in force."""
    added = CLAUSES.format(below=desk.below, repository=desk.repository)
    draft.write_text(draft.read_text() + added)
    lint = desk.shell.json("contract", "lint", str(draft))
    assert lint["sound"], lint
    desk.shell("contract", "sign", str(draft), "--as", "anna", "--yes")
    desk.shell("contract", "adopt", str(draft), "--as", "bert", "--yes")
    desk.shell("agent", "govern", "desk", "--as", "anna", "--yes")


async def bound(desk: Desk, page: str) -> None:
    async with desk.client("files") as files, desk.client("git") as git, desk.client("Fetch It") as fetch:
        await paths_stay_below(desk, files)
        await results_pass(desk, git, fetch, page)
    async with desk.client("time") as clock:
        told = await clock.call_tool("get_current_time", {"timezone": "Europe/Berlin"})
        assert json.loads(text(told))["timezone"] == "Europe/Berlin"
        wrong = await clock.call_tool("get_current_time", {"timezone": "Nowhere/At-All"})
        assert wrong.is_error
        assert "failwell/refused" not in (wrong.meta or {})


async def paths_stay_below(desk: Desk, files: Client) -> None:
    names = {each.name for each in (await files.list_tools()).tools}
    assert names == {"list_allowed_directories", "list_directory", "read_file", "write_file"}
    note = desk.below / "note.txt"
    assert "Call them back." in text(await files.call_tool("read_file", {"path": str(note)}))
    written = await files.call_tool("write_file", {"path": str(desk.below / "new.txt"), "content": "Done."})
    assert not written.is_error
    assert (desk.below / "new.txt").read_text() == "Done."
    outside = desk.shell.root / "private.txt"
    tricks = (
        str(outside), f"{desk.below}/../private.txt", f"{desk.below}/./../private.txt", "../private.txt",
        "~/private.txt", f"{desk.below}//..//private.txt", f"{desk.below}/note.txt\x00/../../private.txt",
        f"{desk.below}\\..\\private.txt", f"file://{outside}", f"{desk.below}/..\u2024/private.txt\u2028",
    )  # fmt: skip
    for path in tricks:
        answer = await files.call_tool("read_file", {"path": path})
        assert refused(answer)["verdict"] == "DENY", path
        assert "Nobody's business" not in text(answer)
    for arguments in ({"path": [str(outside)]}, {"path": str(note), "mode": "w"}, {"PATH": str(note)}, {}):
        answer = await files.call_tool("read_file", arguments)
        assert refused(answer)["verdict"] == "DENY", arguments
    # A link within leads out: no contract sees that, the server does, and its own refusal is passed on.
    answer = await files.call_tool("read_file", {"path": f"{desk.below}/way-out/private.txt"})
    assert answer.is_error
    assert "Path not allowed" in text(answer)


async def results_pass(desk: Desk, git: Client, fetch: Client, page: str) -> None:
    schema = {each.name: each for each in (await git.list_tools()).tools}["git_status"].input_schema
    assert schema["additionalProperties"] is False
    assert "pattern" in schema["properties"]["repo_path"]
    assert "First" in text(await git.call_tool("git_log", {"repo_path": str(desk.repository), "max_count": 1}))
    elsewhere = await git.call_tool("git_log", {"repo_path": str(desk.shell.root)})
    assert refused(elsewhere)["clauses"] == ["own-repository"]
    failed = await git.call_tool("git_show", {"repo_path": str(desk.repository), "revision": "no-such-revision"})
    assert failed.is_error
    whole = text(await fetch.call_tool("fetch", {"url": page, "max_length": 999_999, "raw": True}))
    assert whole.count("All of this was on a page of our own.") == 6_000
    other = await fetch.call_tool("fetch", {"url": "file:///etc/passwd"})
    assert refused(other)["verdict"] == "DENY"
    missing = await fetch.call_tool("fetch", {"url": page + "-that-is-not-there"})
    assert missing.is_error


async def calls(shell: Shell, *arguments: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """The schema that the agent is shown, and what its calls gave."""
    entry = json.loads((shell.root / "memory.failwell.json").read_text())["mcpServers"]["memory"]
    async with _client(entry, shell) as client:
        (tool,) = (await client.list_tools()).tools
        return tool.input_schema, [await client.call_tool("delete_entities", each) for each in arguments]


def test_names_with_capital_letters_pass_from_a_server_to_the_record_and_back_to_people(desk: Desk) -> None:
    shell = desk.shell
    (shell.root / "memory.py").write_text(MEMORY)
    server = {"command": sys.executable, "args": ["-S", str(shell.root / "memory.py")]}
    (shell.root / "memory.json").write_text(json.dumps({"mcpServers": {"memory": server}}))
    told = shell.json("gateway", "import", "memory.json", "--agent", "keeper", "--as", "anna", "--yes")
    assert (told["drafted"], told["left_out"]) == (["memory.delete_entities"], [])
    draft = Path(told["contract"])
    for line in ('entityNames: "list(string, max 9)"', 'dryRun: "bool"', 'factsPaid?: "int(0..99)"'):
        assert f"      {line}\n" in draft.read_text()
    drafted = draft.read_text().replace("    arguments:\n", "    public: [dryRun]\n    arguments:\n", 1)
    draft.write_text(drafted + MEMORY_RULES)
    assert shell.json("contract", "test", str(draft))["failed"] == 0
    shell("contract", "sign", str(draft), "--as", "anna", "--yes")
    shell("contract", "adopt", str(draft), "--as", "bert", "--yes")
    shell("agent", "govern", "keeper", "--as", "anna", "--yes")
    arguments: dict[str, Any] = {"entityNames": ["a", "b"], "dryRun": True, "factsPaid": 7}
    schema, (done, again, real, other) = asyncio.run(
        calls(shell, arguments, arguments, {**arguments, "dryRun": False}, {**arguments, "dryrun": False})
    )
    assert (list(schema["properties"]), schema["required"]) == (list(arguments), ["entityNames", "dryRun"])
    assert json.loads(text(done)) == arguments
    assert [refused(each)["clauses"] for each in (again, real, other)] == [
        ["same-ones"], ["for-real"], ["arguments"],
    ]  # fmt: skip
    read_by_people(shell, int(refused(real)["ticket"]))


def read_by_people(shell: Shell, ticket: int) -> None:
    _, facts = shell("ticket", "show", str(ticket)).out.split("Facts it was judged on")
    assert [line.split()[:2] for line in facts.splitlines()[1:4]] == [
        ["dryRun", "false"], ["entityNames", '["a",'], ["factsPaid", "7"],
    ]  # fmt: skip
    entries = {each["seq"]: each for each in shell.json("ledger", "tail", "-n", "200")["entries"]}
    assert entries[ticket]["body"]["facts"] == {
        "args.dry.run": {"provenance": "asserted", "public": True, "value": False},
        "args.entity.names": {"provenance": "asserted", "public": False, "value": None},
        "args.facts.paid": {"provenance": "asserted", "public": False, "value": None},
    }
    assert "dryRun" in shell("action", "show", str(ticket)).out
    assert shell("ledger", "verify").out.startswith("The record verifies")


def test_the_file_server_of_the_protocols_authors_stays_within_the_contract(desk: Desk) -> None:
    """Where npm has it at hand: nothing is fetched for a test unless FAILWELL_TEST_NPM says so."""
    program = _file_server()
    if program is None:
        pytest.skip("@modelcontextprotocol/server-filesystem is not installed here (FAILWELL_TEST_NPM=1 fetches it)")
    config = desk.shell.root / "node.json"
    config.write_text(
        json.dumps({"mcpServers": {"njs": {"command": program[0], "args": [*program[1:], str(desk.below)]}}})
    )
    told = desk.shell.json("gateway", "import", "node.json", "--agent", "njs-desk", "--as", "anna", "--yes")
    assert told["servers"][0]["pinned"] > 5
    assert desk.shell.json("contract", "lint", told["contract"])["sound"]


def _file_server() -> list[str] | None:
    name = "@modelcontextprotocol/server-filesystem"
    try:
        root = subprocess.run(
            ["npm", "root", "-g"], capture_output=True, text=True, timeout=20, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    at = Path(root) / name / "dist" / "index.js"
    if at.exists():
        return ["node", str(at)]
    return ["npx", "-y", name] if os.environ.get("FAILWELL_TEST_NPM") == "1" else None
