"""`python -m tests.property.http_described --examples N`: each operation of the HTTP API, asked by its own description.

Whatever schemathesis draws from the description, valid and not, by a signed agent, host or person or by nobody: no
answer is a fault of ours, each is one that the description has, and what the description forbids is not accepted.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import requests
import schemathesis
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core.failures import Failure, FailureGroup

from failwell.identity import http_signatures, keys
from failwell.identity.http_signatures import Stamp
from failwell.web.openapi import described
from tests.simulate.fixtures import model
from tests.simulate.house import SETTINGS, House, apply, await_true, scene

_NAMES = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection",
)  # fmt: skip
#: The stream never ends; what it says is tried by itself (tests/e2e/test_http_door.py).
_ENDLESS = "/v1/events"


class Signer(requests.auth.AuthBase):
    """Signs a request as it goes out; without a key, nothing."""

    def __init__(self, address: str, role: str, name: str, key: keys.SigningKey | None, door: str) -> None:
        self.address, self.role, self.name, self.key, self.door = address, role, name, key, door

    def __call__(self, request: Any) -> Any:
        if self.key is None:
            return request
        body = request.body or b""
        data = body.encode() if isinstance(body, str) else bytes(body)
        stamp = Stamp(int(time.time()), f"{self.door}.{secrets.token_hex(16)}")
        target = self.address + request.path_url
        try:
            signed = http_signatures.sign(self.key, self.role, self.name, request.method, target, data, stamp)
        except Exception:  # noqa: BLE001  such a request cannot be signed: it is asked by nobody then
            return request
        request.headers.update(signed)
        return request


class Tried(NamedTuple):
    """How many requests were made, by status, and what was found wrong."""

    statuses: Counter[int]
    found: list[str]


def place(root: Path) -> House:
    """A house whose running node has a door that takes what is thrown at it here."""
    house = model().copy(root)
    house.node()
    http = '[http]\nlisten = "127.0.0.1:0"\nrate_per_s = 100000\n'
    apply(house, f'{SETTINGS}\n{http}\n[tools."note.write"]\ncommand = ["/bin/true"]\n')
    return house


def ask_all(house: House, address: str, examples: int, seed: int) -> Tried:
    """`examples` requests of each operation, half of them such as the description forbids; of one, either."""
    schema = schemathesis.openapi.from_dict(json.loads(described()))
    session = requests.Session()
    session.mount("http://", HTTPAdapter(pool_maxsize=4))
    door = session.get(f"{address}/v1/health").headers["failwell-door"]
    agent = house.full("refund-bot")
    signers = [
        Signer(address, "agent", agent, house.agent_keys["refund-bot"], door),
        Signer(address, "person", "anna", house.persons["anna"].key, door),
        Signer(address, "", "", None, door),
    ]
    known = _known(session, address, signers[0])
    tried = Tried(Counter(), [])
    checks = [CHECKS.get_one(name) for name in _NAMES]
    for number, result in enumerate(schema.get_all_operations()):
        operation: Any = result.ok()  # type: ignore[union-attr]  # our own description has no operation that fails
        if operation.path == _ENDLESS:
            continue
        modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        for mode in modes if examples > 1 else (modes[(number + seed) % 2],):
            ask = _asking(operation, mode, signers, known, session, address, checks, tried)
            _draw(ask, max(1, examples // 2), seed)
    session.close()
    return tried


def _known(session: requests.Session, address: str, agent: Signer) -> dict[str, int]:
    """Numbers that are there, for what is drawn to hit something now and then."""
    run = session.post(f"{address}/v1/runs", json={}, auth=agent).json()["run"]
    act = {"run": run, "call": "known", "tool": "note.write", "arguments": {"customer": "maybe", "millis": 0}}
    ticket = session.post(f"{address}/v1/actions/decide", json=act, auth=agent).json()["verdict"]["ticket"]
    return {"run": run, "action": ticket, "ticket": ticket}


def _asking(
    operation: Any, mode: GenerationMode, signers: list[Signer], known: dict[str, int], session: requests.Session,
    address: str, checks: list[Any], tried: Tried,
) -> Callable[[Any], None]:  # fmt: skip
    from hypothesis.errors import Unsatisfiable

    strategy = operation.as_strategy(generation_mode=mode)

    def ask(data: Any) -> None:
        case = data.draw(strategy)
        if mode is GenerationMode.POSITIVE and data.draw(st.booleans()):
            for part in (case.path_parameters, case.body):
                if isinstance(part, dict):
                    part.update({name: value for name, value in known.items() if name in part})
        if mode is GenerationMode.POSITIVE and (case.query or {}).get("wait_s"):
            case.query["wait_s"] = 0.01  # it is waited for as long as was asked
        signer = data.draw(st.sampled_from(signers))
        response = case.call(base_url=address, session=session, auth=signer, timeout=20)
        tried.statuses[response.status_code] += 1
        try:
            case.validate_response(response, checks=checks)
        except (FailureGroup, Failure) as error:
            found = error.exceptions if isinstance(error, FailureGroup) else (error,)
            told = f"{operation.method.upper()} {operation.path}: {response.status_code}"
            tried.found.extend(f"{told}: {' '.join(str(each).split())[:800]}" for each in found)

    def quiet(data: Any) -> None:
        try:
            ask(data)
        except Unsatisfiable:
            return

    return quiet


def _draw(ask: Callable[[Any], None], examples: int, seed: int) -> None:
    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples, deadline=None, database=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck), derandomize=False,
    )  # fmt: skip
    @hypothesis.given(data=st.data())
    def drawn(data: Any) -> None:
        ask(data)

    try:
        drawn()
    except hypothesis.errors.Unsatisfiable:
        return  # nothing that this operation forbids can be drawn: it takes no field


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.property.http_described", description=__doc__)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=20260101)
    given = parser.parse_args()
    with scene() as root:
        house = place(root / "h")
        node = house.nodes[0]
        try:
            address = str(await_true(lambda: house.ask("status")["http"]["address"]))
            tried = ask_all(house, address, given.examples, given.seed)
            faults = [line for line in node.said().splitlines() if "Error" in line or "Traceback" in line]
        finally:
            house.tear_down()
    for line in (*tried.found, *faults):
        print(line)
    print(f"{tried.statuses.total()} requests: {dict(sorted(tried.statuses.items()))}, {len(tried.found)} findings")
    return 1 if tried.found or faults else 0


if __name__ == "__main__":
    sys.exit(main())
