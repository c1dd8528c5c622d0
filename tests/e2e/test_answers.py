"""Pages answered without a key, before a real node, its HTTP door and a mail server: once, by whom they are for."""

from __future__ import annotations

import base64
import email
import hashlib
import hmac
import http.client
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from failwell.core import orders
from tests import receivers
from tests.simulate.fixtures import model
from tests.simulate.house import TOOL, apply, await_true, scene
from tests.simulate.sink import Sink, plain

LINKS = "https://failwell.example"


class Scene:
    """One house whose mails carry links and codes; incidents are opened by a person's report."""

    def __init__(self, root: Path) -> None:
        self.sink = Sink()
        self.sink.start()
        self.pager = receivers.Receiver(receivers.pagerduty)
        self.house = model().copy(root / "h")
        self.house.node()
        (root / "pd").write_text("R0UTING\n")
        (root / "pdhook").write_text("hook-secret\n")
        for name in ("pd", "pdhook"):
            (root / name).chmod(0o600)
        command = json.dumps([sys.executable, "-I", "-S", str(TOOL), str(self.house.witness)])
        self.inbox = root / "Maildir"
        for part in ("new", "cur", "tmp"):
            (self.inbox / part).mkdir(parents=True)
        apply(
            self.house,
            f"""{self.sink.settings}
[mail.inbox]
kind = "maildir"
path = "{self.inbox}"
address = "answers@example.org"
[http]
listen = "127.0.0.1:0"
addresses = ["{LINKS}"]
[escalation]
quiet = "00:00-24:00"  # nobody is asked by the clock whether they are reached; what is major does not wait
links = "{LINKS}"
[[escalation.steps]]
notify = "role:operator"
by = ["email", "pager"]
[channels.pager]
kind = "pagerduty"
url = "http://127.0.0.1:{self.pager.port}/v2/enqueue"
secret = "pd"
webhook_secret = "pdhook"
allow_private = ["127.0.0.0/8"]
people = {{PANNA = "anna"}}
[secrets.pd]
file = "{root}/pd"
[secrets.pdhook]
file = "{root}/pdhook"
[tools."note.write"]
command = {command}
""",
        )
        self.address = urlsplit(str(await_true(lambda: self.house.ask("status")["http"]["address"])))

    def close(self) -> None:
        self.house.tear_down()
        self.pager.close()
        self.sink.stop()

    def paged(self) -> tuple[int, email.message.Message]:
        """A new incident, and the newest mail that it led to with a link in it."""
        before = len(self.sink.mails)
        self.house.hand("cleo").write(
            "incident.report", "somebody rang",
            lambda words: orders.IncidentReport(
                report="external", agent=None, severity="major", title="<b>two letters</b> for one name", words=words,
                aware=None, first=None, last=None,
            ),
        )  # fmt: skip
        number = max(int(each["body"]["incident"]) for each in self.house.entries("incident.opened"))
        mail = await_true(lambda: next((each for each in self.sink.mails[before:] if link_in(text_of(each))), None))
        return number, mail

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, str, dict[str, str]]:
        line = http.client.HTTPConnection(str(self.address.hostname), self.address.port, timeout=20)
        given = {"Host": urlsplit(LINKS).netloc, **headers}
        if body is not None and "Content-Type" not in given:
            given["Content-Type"] = "application/x-www-form-urlencoded"
        line.request(method, path, body, given)
        answer = line.getresponse()
        told = answer.read().decode(), {name.lower(): value for name, value in answer.getheaders()}
        line.close()
        return answer.status, *told

    def post(self, path: str, choice: str = "take") -> tuple[int, str, dict[str, str]]:
        return self.ask("POST", path, urlencode({"choice": choice}))

    def event(self, number: str, key: str, **changes: Any) -> str:
        """What PagerDuty posts when one of its users, anna here, acknowledges."""
        plain = {
            "id": number, "event_type": "incident.acknowledged", "agent": {"id": "PANNA"},
            "occurred_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "data": {"incident_key": key},
        }  # fmt: skip
        return json.dumps({"event": plain | changes})

    def hook(self, body: str, secret: bytes = b"hook-secret") -> int:
        mac = hmac.new(secret, body.encode(), hashlib.sha256).hexdigest()
        return self.ask(
            "POST", "/hooks/pagerduty/pager", body,
            **{"Content-Type": "application/json", "X-PagerDuty-Signature": f"v1={mac}"},
        )[0]  # fmt: skip

    def taken(self, incident: int) -> list[dict[str, Any]]:
        return [each for each in self.house.entries("acknowledged") if each["body"]["incident"] == incident]

    def deliver(self, *contents: bytes) -> None:
        """As a mail server does: written whole in tmp, then named in new."""
        for content in contents:
            name = hashlib.sha256(content).hexdigest()[:16]
            (self.inbox / "tmp" / name).write_bytes(content)
            (self.inbox / "tmp" / name).rename(self.inbox / "new" / name)
        await_true(lambda: not list((self.inbox / "new").iterdir()))


def text_of(mail: email.message.Message) -> str:
    return plain(mail)


def link_in(text: str) -> str | None:
    found = re.search(rf"{re.escape(LINKS)}(/a/\S+)", text)
    return None if found is None else found[1]


def code_in(text: str) -> str:
    found = re.search(r"the code (\S+)\.\n", text)
    assert found is not None
    return found[1]


def html_of(mail: email.message.Message) -> str:
    part = next(each for each in mail.walk() if each.get_content_type() == "text/html")
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content.decode()


def link_of(mail: email.message.Message) -> str:
    found = link_in(text_of(mail))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def world() -> Iterator[Scene]:
    with scene() as root:
        made = Scene(root)
        yield made
        made.close()


@pytest.mark.requirement("R10.87")
def test_looking_takes_nothing_whoever_looks_and_says_what_it_is_about(world: Scene) -> None:
    incident, mail = world.paged()
    path = link_of(mail)
    for _ in range(3):
        status, page, fields = world.ask("GET", path)
        assert status == 200
        assert f"do you take incident {incident}?" in page
        assert "&lt;b&gt;two letters&lt;/b&gt;" in page, "hostile words are inert"
        assert "<b>two" not in page
        assert "<script" not in page
        assert "checked" not in page, "nothing is chosen by itself"
        assert fields["content-security-policy"].startswith("default-src 'none'")
        assert fields["referrer-policy"] == "no-referrer"
        assert world.ask("HEAD", path)[:2] == (200, "")
        assert world.ask("GET", path, **{"User-Agent": "Slackbot-LinkExpanding 1.0"})[0] == 200
        assert world.ask("OPTIONS", path)[0] in (400, 405)
        assert world.ask("PUT", path, "choice=take")[0] in (400, 405)
    for body in ("", "choice=", "choice=TAKE", "choice=take&choice=take", "other=take", "choice=not"):
        assert world.ask("POST", path, body)[0] == 200
    assert world.ask("POST", path, '{"choice":"take"}', **{"Content-Type": "application/json"})[0] == 400
    assert world.ask("POST", path, "choice=take", **{"Content-Type": "text/plain"})[0] == 400
    assert world.ask("POST", path, "choice=take" + "&x=1" * 2000)[0] == 400
    assert world.taken(incident) == []


def test_a_hundred_answers_at_once_take_it_once_and_only_that(world: Scene) -> None:
    incident, mail = world.paged()
    path = link_of(mail)
    with ThreadPoolExecutor(40) as many:
        answers = list(many.map(lambda _: world.post(path)[0], range(100)))
    taken = world.taken(incident)
    assert len(taken) == 1
    assert answers.count(200) == 1, answers
    assert set(answers) <= {200, 410, 429, 503}
    entry = taken[0]
    assert (entry["body"]["by"], entry["actor"]) == ("link", "response")
    assert world.house.ask("incident", incident)["state"] == "TRIAGED"
    answered = [each for each in world.house.entries("page.answered") if each["body"]["page"] == entry["body"]["page"]]
    carried = [each for each in world.house.entries("page.attempted") if each["body"]["page"] == entry["body"]["page"]]
    assert [each["body"]["token"] for each in answered] == [carried[-1]["body"]["token"]]
    assert world.post(path)[0] == 410, "played again"
    assert "took it" in world.ask("GET", path)[1] or "answered already" in world.ask("GET", path)[1]


def test_a_token_that_was_changed_or_is_of_another_incident_takes_nothing(world: Scene) -> None:
    first, mail = world.paged()
    second, other = world.paged()
    head, body, signature = link_of(mail).rpartition("/")[2].split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    moved = base64.urlsafe_b64encode(json.dumps(claims | {"inc": second}).encode()).rstrip(b"=").decode()
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"page+jwt"}').rstrip(b"=").decode()
    theirs = link_of(other).rpartition("/")[2].split(".")
    for token in (
        f"{head}.{moved}.{signature}", f"{none}.{body}.", f"{none}.{body}.{signature}", f"{head}.{body}.{theirs[2]}",
        f"{head}.{theirs[1]}.{signature}", f"{head}.{body}.{signature[:-1]}{'A' if signature[-1] != 'A' else 'B'}",
        f"{head}.{body}.{signature}=", "x", "..", "%2e%2e",
    ):  # fmt: skip
        assert world.post(f"/a/{token}")[0] in (400, 404, 410), token
    assert world.taken(first) == world.taken(second) == []
    assert world.post(link_of(other))[0] == 200
    assert [each["body"]["person"] for each in world.taken(second)] == [claims["sub"]]
    assert world.taken(first) == []


def test_the_link_of_what_somebody_took_with_a_key_says_so_and_does_nothing(world: Scene) -> None:
    incident, mail = world.paged()
    world.house.hand("bert").acknowledge(incident)
    assert "bert took it" in world.ask("GET", link_of(mail))[1]
    assert world.post(link_of(mail))[0] == 410
    assert len(world.taken(incident)) == 1


def test_what_travels_says_the_same_as_html_and_bears_what_programs_go_by(world: Scene) -> None:
    incident, mail = world.paged()
    shown = html_of(mail)
    assert f'href="{LINKS}{link_of(mail)}"' in shown
    assert "&lt;b&gt;two letters&lt;/b&gt; for one name" in shown
    assert "<b>two letters" not in shown
    assert mail["X-Failwell-Incident"] == str(incident)
    assert mail["Reply-To"] == "answers@example.org"
    assert str(mail["References"]).startswith("<incident-")
    assert "Next at " in text_of(mail)
    assert "Nobody else was asked yet." in text_of(mail) or "Asked too: " in text_of(mail)


def test_a_reply_that_begins_with_the_code_takes_it_from_its_own_address_only(world: Scene) -> None:
    incident, mail = world.paged()
    code, to = code_in(text_of(mail)), str(mail["To"])

    def reply(first: str, sender: str = to, **headers: str) -> bytes:
        made = EmailMessage()
        made["From"], made["To"], made["Subject"] = sender, "failwell@example.org", f"Re: {mail['Subject']}"
        for name, value in headers.items():
            made[name.replace("_", "-")] = value
        made.set_content(f"{first}\n\n> {text_of(mail)}")
        return made.as_bytes()

    world.deliver(
        reply(f"ACK {code}", "mallory@evil.example"), reply("I am away"),
        reply(f"ACK {code}", Auto_Submitted="auto-replied"), reply(f"ACK {code[:-4]}ZZZZ"), mail.as_bytes(),
    )  # fmt: skip
    assert world.taken(incident) == []
    world.deliver(reply(f"ack {code.lower()}"))
    await_true(lambda: world.taken(incident))
    assert world.taken(incident)[0]["body"]["by"] == "reply"


@pytest.mark.requirement("R10.69")
def test_a_mail_that_comes_back_is_on_record_by_its_page(world: Scene) -> None:
    _, mail = world.paged()
    notice = (
        "From: MAILER-DAEMON@mx.example\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=B\r\n\r\n"
        "--B\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; mx\r\n\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        f"\r\n--B\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: {mail['Message-ID']}\r\n"
        f"X-Failwell-Returned: {mail['X-Failwell-Returned']}\r\n\r\n--B--\r\n"
    )  # fmt: skip

    def receive(content: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "failwell", "escalation", "receive", "--json", "--workspace",
             str(world.house.workspace.path)],
            input=content.encode(), capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    # Attack: whoever knows the ledger's name knows each Message-ID, but not what the mail itself bears.
    assert receive(notice.replace(mail["X-Failwell-Returned"][-8:], "00000000"))["state"] == "ignored"
    assert world.house.entries("page.bounced") == []
    assert receive(notice + "x" * 3_000_000)["state"] == "bounced"
    assert receive(notice)["state"] == "ignored"
    (bounced,) = [each["body"] for each in world.house.entries("page.bounced")]
    assert bounced["permanent"] is True
    assert "anna@" not in json.dumps(bounced)


def test_pagerduty_takes_it_for_the_person_that_its_user_stands_for_once_and_only_signed(world: Scene) -> None:
    incident, _ = world.paged()
    trigger = await_true(lambda: [
        each for each in world.pager.received if each.json["event_action"] == "trigger"
        and each.json["payload"]["custom_details"]["incident"] == incident
    ])  # fmt: skip
    key = trigger[-1].json["dedup_key"]

    hook = world.hook

    def event(**changes: Any) -> str:
        return world.event(f"E{incident}", key, **changes)

    assert hook(event(), b"another") in (401, 403, 410)
    assert hook(event(agent={"id": "PNOBODY"})) in (401, 403, 410)
    assert hook(event(occurred_at="2020-01-01T00:00:00Z")) in (401, 403, 410)
    assert hook(event(event_type="incident.resolved")) == 200
    assert world.ask("POST", "/hooks/pagerduty/pager", event(), **{"Content-Type": "application/json"})[0] >= 400
    assert world.taken(incident) == []
    assert hook(event()) == 200
    assert [(each["body"]["person"], each["body"]["by"]) for each in world.taken(incident)] == [("anna", "pagerduty")]
    assert hook(event()) in (401, 403, 410)
    told = await_true(
        lambda: [each for each in world.pager.received if each.json["event_action"] == "acknowledge"
                 and each.json["dedup_key"] == key]
    )  # fmt: skip
    assert len(told) == 1


def test_a_mail_and_a_service_are_shown_to_reach_their_person_by_what_they_were_sent(world: Scene) -> None:
    hand, before = world.house.hand("anna"), len(world.sink.mails)
    for channel in ("email", "pager"):
        hand.give("channel.ask", orders.ChannelAsk(channel=channel, person="anna"))
    mail = await_true(
        lambda: next((each for each in world.sink.mails[before:] if "reach you" in each["Subject"]), None)
    )
    path = link_of(mail)
    assert "did this reach you?" in world.ask("GET", path)[1]
    assert world.post(path, "take")[0] == 200, "the choice of another page does nothing"
    assert world.house.entries("channel.proven") == []
    assert [world.post(path, "here")[0] for _ in range(2)] == [200, 410]
    asked = await_true(
        lambda: next((each.json for each in world.pager.received if "-proof-" in each.json["dedup_key"]), None)
    )
    assert re.search(r"escalation confirm [0-9A-Z-]{19} --as anna", asked["payload"]["custom_details"]["text"])
    assert "/a/" not in json.dumps(asked), "no link goes to a room"
    assert world.hook(world.event("EP", asked["dedup_key"])) == 200
    proven = [(each["body"]["channel"], each["body"]["how"]) for each in world.house.entries("channel.proven")]
    assert proven == [("email", "link"), ("pager", "pagerduty")]
    end = await_true(lambda: next((each.json for each in world.pager.received if each.json["event_action"] == "resolve"
                                   and each.json["dedup_key"] == asked["dedup_key"]), None))  # fmt: skip
    assert end["dedup_key"] == asked["dedup_key"]
    shell = [sys.executable, "-m", "failwell", "escalation", "channels", "--json"]
    done = subprocess.run([*shell, "--workspace", str(world.house.workspace.path)], capture_output=True, check=False)
    told = {(each["channel"], each["person"]): each["state"] for each in json.loads(done.stdout)["channels"]}
    assert told["pager", "anna"] == told["email", "anna"] == "proven"
    assert done.returncode == ("never shown" in told.values()), "somebody who would be asked was never shown to be"


def test_the_record_of_all_this_verifies(world: Scene) -> None:
    world.house.verify()


CHROMIUM = shutil.which("chromium")


@pytest.mark.ci_must_run
@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
def test_a_browser_that_runs_what_it_finds_takes_nothing(world: Scene, tmp_path: Path) -> None:
    """Attack: a scanner that opens the link in a real browser and waits for scripts."""
    incident, mail = world.paged()
    port = world.address.port
    rules = f"MAP failwell.example 127.0.0.1:{port}"
    url = f"http://failwell.example:{port}{link_of(mail)}"
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom",
         f"--host-resolver-rules={rules}", "--virtual-time-budget=3000", url],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert world.taken(incident) == []
