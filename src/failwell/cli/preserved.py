"""What was preserved of an action that was stopped, in words."""

from __future__ import annotations

from typing import Any

from failwell.cli.screen import Screen, plural, safe, span

SHOWN = 20


def show_preserved(screen: Screen, told: dict[str, Any] | None) -> None:
    """What ran while it stood still, and what lay where it worked; nothing where nothing was preserved."""
    if told is None:
        return
    screen.say(f"\nPreserved [entry {told['entry']}]: {_summary(told)}")
    if not told["holds"]:
        screen.say("  ITS TEXTS ARE NOT THOSE THAT THE ENTRY COMMITS TO: failwell ledger verify", "bold red")
    if told["missing"]:
        screen.say(f"  Not taken: {told['missing']}")
    snapshot, directory = told["snapshot"], told["directory"]
    if isinstance(snapshot, dict) and snapshot.get("processes"):
        screen.table(
            ("Process", "Command", "Memory", "Open files"), [_process(item) for item in snapshot["processes"][:SHOWN]]
        )
        for name, words in (("output_tail", "It had written"), ("errors_tail", "and to its errors")):
            if snapshot.get(name):
                screen.say(f"  {words}: {safe(str(snapshot[name]).strip())[-300:]}")
    if isinstance(directory, dict) and directory.get("files"):
        screen.say(f"  In {directory['directory']}:")
        rows = [(path, str(size), digest) for path, size, digest in directory["files"][:SHOWN]]
        screen.table(("File", "Bytes", "SHA-256"), rows)
        if len(directory["files"]) > SHOWN:
            screen.say(f"  and {len(directory['files']) - SHOWN} more: --json has all of them")


def _summary(told: dict[str, Any]) -> str:
    what = [
        f"{plural(told['processes'], 'process', 'processes')} as they stood still, taken in {span(told['took_us'])}"
    ]
    if told["directory"] is not None:
        what.append(f"{plural(told['files'], 'file')}, {told['bytes']:,} bytes, by their digests")
    return "; ".join(what)


def _process(item: dict[str, Any]) -> tuple[str, str, str, str]:
    command = " ".join(str(part) for part in item.get("arguments", ())) or str(item.get("name", ""))
    files = ", ".join(str(each.get("to", "")) for each in item.get("files", ()) if int(each.get("fd", 0)) > 2)
    return f"{item.get('pid')} {item.get('state')}", command, f"{item.get('memory_kib', 0):,} KiB", files
