"""A door elsewhere as `client.wire.Wire` is to a node here: the same requests, asked over HTTP, and the same errors.

`Gate` and `Run` do not know the difference. What the node pushes comes over an event stream, which is opened when this
process first executes something itself; losing it is losing the caller, so what was begun over it is asked to stop.
Standard library and `cryptography` only.
"""

from __future__ import annotations

import base64
import http.client
import json
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from failwell.client.http_lines import Answer, Holder, Lines, Signer
from failwell.client.wire import CLOSED, CLOSED_HINT, THREAD, failure
from failwell.core.errors import FailwellError, InputError, NotFound, Refused, Unhealthy, Unreachable

_STREAM_TIMEOUT_S: Final = 35.0  # the door writes a line every ten seconds
_IDLE_S: Final = 30.0
_OF_STATUS: Final[dict[int, type[FailwellError]]] = {
    400: InputError, 401: Refused, 403: Refused, 404: NotFound, 409: Refused, 413: InputError, 422: InputError,
    429: Unhealthy, 503: Unhealthy,
}  # fmt: skip
#: Codes of a call that the record has already, and what that call's caller would be told on the socket.
_ON_RECORD: Final = ("repeated", "under-way", "blocked")


class HttpWire:
    """A door, asked as `Wire` is. `sign_as` says who asks; thread-safe."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        about = _answered(lines.send("GET", "/v1", again=True))
        if not isinstance(about, dict) or not isinstance(about.get("origin"), str):
            raise Unreachable(f"what answers at {lines.address} is no door", hint="https://NAME:PORT of failwell serve")
        self.greeting: dict[str, Any] = {**about, "origins": tuple(about.get("origins") or (about["origin"],))}
        self.on_push: Callable[[dict[str, Any]], None] = lambda message: None
        self._signers: dict[str, Signer] = {}
        self._runs: dict[int, str] = {}
        self._under_way: dict[tuple[Any, str], Holder] = {}
        self._events: dict[str, _Events] = {}
        self._opening = threading.Lock()
        self._workers = _Workers()

    def sign_as(self, full: str, signer: Signer) -> None:
        """Sign what is asked in the name of `full` from now on."""
        self._signers.pop(full, None)
        self._signers[full] = signer

    def full_name(self, signer: Signer) -> str:
        """The registered name of an agent, told to whoever proves to be it."""
        for row in _answered(self._lines.send("GET", "/v1/agents", b"", signer, again=True)):
            if signer.name in (row["name"], row["agent"]):
                return str(row["agent"])
        raise Refused(f"the door does not know the agent {signer.name}", code="unauthenticated")

    def ask(self, do: str, **fields: Any) -> Future[Any]:
        """Ask, beside whoever goes on; the future gives the node's answer or raises its error."""
        future: Future[Any] = Future()
        if do == "cancel":
            holder = self._under_way.get((fields["run"], fields["call"]))
            if holder is not None:
                holder.give_up()
            future.set_result(None)
        else:
            self._workers.do(lambda: _settle(future, lambda: self.call(do, **fields)))
        return future

    def call(self, do: str, *, timeout_s: float | None = None, **fields: Any) -> Any:
        """Ask and wait. Raises what `Wire.call` raises."""
        handle = {
            "act": self._act, "run.open": self._open_run, "run.close": self._close_run, "settle": self._settle,
            "explain": self._explain, "ask": self._ask, "order": self._order,
        }.get(do)  # fmt: skip
        if handle is None:
            raise InputError(f"{do} cannot be asked over HTTP", hint="Ask it where the node is.")
        try:
            return handle(fields)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise Unreachable(f"the door says what is no answer: {error!r}", hint="Is it one of failwell's?") from error

    def close(self) -> None:
        for events in tuple(self._events.values()):
            events.close()
        self._workers.close()
        self._lines.close()

    # -- runs --------------------------------------------------------------------------------------------------

    def _open_run(self, fields: dict[str, Any]) -> int:
        parent = fields.get("parent")
        signer = self._signer(fields["agent"] if parent is None else self._runs.get(parent, fields["agent"]))
        given = {name: value for name, value in fields.items() if value is not None}
        opened = int(self._post("/v1/runs", given, signer)["run"])
        self._runs[opened] = fields["agent"]
        return opened

    def _close_run(self, fields: dict[str, Any]) -> None:
        self._post(f"/v1/runs/{fields['run']}/close", {}, self._signer(fields["agent"]))
        self._runs.pop(fields["run"], None)

    # -- actions -----------------------------------------------------------------------------------------------

    def _act(self, fields: dict[str, Any]) -> dict[str, Any]:
        how, signer = fields["how"], self._signer(fields["agent"])
        self._runs.setdefault(fields["run"], fields["agent"])
        asked = {name: fields[name] for name in ("run", "call", "tool", "reason", "ticket") if fields[name] is not None}
        if how == "permit":
            asked["audience"] = fields["audience"]
        events = self._events_of(fields["agent"]) if how == "begin" else None
        if events is not None:
            asked["stream"] = events.name
        # The arguments go as they are: what is wrong with them is for the node to deny, on record.
        body = f'{json.dumps(asked)[:-1]},"arguments":{fields["arguments"]}}}'.encode()
        holder, named = Holder(), (fields["run"], fields["call"])
        self._under_way[named] = holder
        try:
            answer = self._lines.send(
                "POST", f"/v1/actions/{how}", body, signer, again=how != "begin", timeout_s=None, holder=holder
            )
        finally:
            self._under_way.pop(named, None)
        if how == "decide":
            return _verdict(_answered(answer)["verdict"])
        raw = self._heard(answer, signer)
        if events is not None and raw["result"] is None:
            events.begun.add(raw["verdict"]["entry"])
        return raw

    def _heard(self, answer: Answer, signer: Signer) -> dict[str, Any]:
        """What was decided and what came of it, as the node tells it on its socket."""
        told = answer.told if isinstance(answer.told, dict) else {}
        if answer.status == 403 and "verdict" in told:
            return {"verdict": _verdict(told["verdict"]), "result": None}
        if answer.status == 409 and told.get("code") in _ON_RECORD and told.get("entry") is not None:
            return self._on_record(told, signer)
        told = _answered(answer)
        if "token" in told:
            permit = {name: told[name] for name in ("token", "audience", "expires", "entry")}
            return {"verdict": _verdict(told["verdict"]), "permit": permit, "result": None}
        return {"verdict": _verdict(told["verdict"]), "result": told["outcome"]}

    def _on_record(self, told: dict[str, Any], signer: Signer) -> dict[str, Any]:
        action = _answered(self._lines.send("GET", f"/v1/actions/{told['entry']}", b"", signer, again=True))
        state, ended = action["state"], action["outcome"] is not None
        verdict = {
            "verdict": action["verdict"], "clauses": (), "because": told["detail"], "hint": told.get("hint"),
            "ticket": None, "entry": action["action"], "repeated": told["code"] != "blocked", "state": state,
            "governed": True,
        }  # fmt: skip
        output = base64.b64encode((action["result"] or "").encode()).decode()
        result = {
            "state": state, "entry": action["outcome"], "output": output, "truncated": False, "exit_code": None,
            "why": action["why"],
        }  # fmt: skip
        return {"verdict": verdict, "result": result if ended else None}

    def _settle(self, fields: dict[str, Any]) -> int:
        path = f"/v1/actions/{fields['action']}/settle"
        asked = {name: fields[name] for name in ("state", "result", "why") if fields[name] is not None}
        events = self._events.get(fields["agent"])
        if events is not None:
            events.begun.discard(fields["action"])
        return int(self._post(path, asked, self._signer(fields["agent"]))["entry"])

    def _explain(self, fields: dict[str, Any]) -> int:
        path = f"/v1/actions/{fields['action']}/explain"
        return int(self._post(path, {"reason": fields["reason"]}, self._signer(fields["agent"]))["entry"])

    # -- questions and orders ----------------------------------------------------------------------------------

    def _ask(self, fields: dict[str, Any]) -> Any:
        about: str = fields["about"]
        key: Any = fields.get("key")
        if about == "ticket":
            return self._of_any(f"/v1/tickets/{int(key)}")
        if about == "agents":
            return {row["agent"]: row for row in self._of_any("/v1/agents")}
        if about == "sight":
            return self._post("/v1/sights", key, self._signer(""), again=True)
        raise InputError(f"{about} cannot be asked over HTTP", hint="Ask it where the node is.")

    def _of_any(self, path: str) -> Any:
        """What one of those who sign here may read."""
        refused: FailwellError = Refused("nobody is proved here", code="unauthenticated")
        for signer in reversed(tuple(self._signers.values())):
            try:
                return _answered(self._lines.send("GET", path, b"", signer, again=True))
            except (NotFound, Refused) as error:
                refused = error
        raise refused

    def _order(self, fields: dict[str, Any]) -> Any:
        given = {name: value for name, value in fields.items() if value is not None}
        told = self._post("/v1/orders", given, None)
        if told.get("confirmed") is False:
            raise Unhealthy(
                f"the order was left for the node, which did not confirm it: {told['why']}", code="left",
                hint="It takes effect without the node as far as it can. What became of it: failwell stop report",
            )  # fmt: skip
        return told["answer"]

    # -- below -------------------------------------------------------------------------------------------------

    def _signer(self, full: str) -> Signer:
        """Who signs for `full`; where nobody is named, whoever was proved last."""
        found = self._signers.get(full) if full else next(reversed(self._signers.values()), None)
        if found is None:
            raise Refused(
                f"nobody has proved here to be {full}", code="unauthenticated", hint="gate.run(agent=...) does."
            )
        return found

    def _post(self, path: str, fields: dict[str, Any], signer: Signer | None, *, again: bool = False) -> Any:
        return _answered(self._lines.send("POST", path, json.dumps(fields).encode(), signer, again=again))

    def _pushed(self, message: dict[str, Any]) -> None:
        self.on_push(message)

    def _events_of(self, full: str) -> _Events:
        with self._opening:
            events = self._events.get(full)
            if events is None or events.over:
                events = _Events(self._lines, self._signer(full), self._pushed)
                self._events[full] = events
            return events


class _Events:
    """The stream over which an agent's actions in this process are asked to stop."""

    def __init__(self, lines: Lines, signer: Signer, push: Callable[[dict[str, Any]], None]) -> None:
        self._answer = lines.open_stream("/v1/events", signer, _STREAM_TIMEOUT_S)
        self._push = push
        #: What was begun over it and is not settled.
        self.begun: set[int] = set()
        self.over = False
        if self._answer.status != 200:
            _answered(self._answer.rest())
        try:
            _open, told = self._next()
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._answer.close()
            raise Unreachable(f"the door's event stream does not begin: {error}") from error
        self.name = str(told["stream"])
        self._listening = threading.Thread(target=self._listen, name=THREAD, daemon=True)
        self._listening.start()

    def _listen(self) -> None:
        try:
            while True:
                name, told = self._next()
                if name == "interrupt":
                    self._push({"push": "interrupt", "action": told["action"]})
        except (OSError, ValueError, KeyError, TypeError, AttributeError, http.client.HTTPException):
            pass  # closed, cut off, or silent for too long: the same for whoever acts
        self.over = True
        self._answer.close()
        for action in tuple(self.begun):
            # Nobody could ask it to stop any more: the door has told the node that its caller is gone.
            self._push({"push": "interrupt", "action": action})

    def _next(self) -> tuple[str, dict[str, Any]]:
        """The next event; OSError once there is none."""
        name, data = "", ""
        while True:
            line = self._answer.readline()
            if not line:
                raise OSError("the event stream ended")
            word, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(":")
            if word == "event":
                name = value.strip()
            elif word == "data":
                data += value.strip()
            elif name and not word and not value:
                return name, json.loads(data)

    def close(self) -> None:
        """Hang up; whoever listens closes what is left."""
        self.begun.clear()
        self._answer.cut()
        self._listening.join(timeout=1)


class _Workers:
    """Threads that wait for answers: as many as there are questions at once, kept for the next ones."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = self._all = 0
        self._closed = False

    def do(self, work: Callable[[], None]) -> None:
        """Work that somebody waits for. Unreachable once this is closed: nobody would do it any more."""
        with self._lock:
            if self._closed:
                raise Unreachable(CLOSED, hint=CLOSED_HINT)
            if self._idle:
                self._idle -= 1
            else:
                self._all += 1
                threading.Thread(target=self._run, name=THREAD, daemon=True).start()
            self._work.put(work)

    def _run(self) -> None:
        while True:
            try:
                work = self._work.get(timeout=_IDLE_S)
            except queue.Empty:
                with self._lock:
                    if not self._idle:
                        continue  # one was counted on just now
                    self._idle -= 1
                    self._all -= 1
                    return
            if work is None:
                return
            work()
            with self._lock:
                self._idle += 1

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for _ in range(self._all):
                self._work.put(None)


def _settle(future: Future[Any], work: Callable[[], Any]) -> None:
    try:
        future.set_result(work())
    except FailwellError as error:
        future.set_exception(error)
    finally:
        if not future.done():  # a fault of ours: nobody is to wait for ever
            future.cancel()


def _answered(answer: Answer) -> Any:
    """What a door answered; the error that its problem document tells."""
    if 200 <= answer.status < 300 and answer.told is not None:
        return answer.told
    told = answer.told if isinstance(answer.told, dict) else {}
    code, message = str(told.get("code", "failed")), str(told.get("detail", f"the door answered {answer.status}"))
    error = failure({"code": code, "message": message, "hint": told.get("hint")})
    if type(error) is FailwellError and answer.status in _OF_STATUS:
        return _raise(_OF_STATUS[answer.status](message, hint=told.get("hint"), code=code))
    return _raise(error)


def _raise(error: FailwellError) -> Any:
    raise error


def _verdict(told: dict[str, Any]) -> dict[str, Any]:
    """A verdict as the node's socket spells it."""
    return {**told, "ticket": None if told["ticket"] is None else str(told["ticket"])}
