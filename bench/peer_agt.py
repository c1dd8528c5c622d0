"""The peer's side of `bench.evaluation`: its governed call with audit in memory; run by the peer's own Python.

Prints one JSON line. The call, the rules and the default (audit on, in memory) are those that its own documentation
shows; the rules say what the clauses of `bench.workspace` say.
"""

import json
import logging
import sys
import time
import warnings
from importlib.metadata import version

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)

from agentmesh.governance import GovernanceDenied, govern  # noqa: E402

POLICY = """
apiVersion: governance.toolkit/v1
name: refunds
agents: ["*"]
default_action: allow
rules:
  - {name: ceiling, condition: "amount.value > 200", action: deny}
  - {name: nobody, condition: "customer_id.value == 'nobody'", action: deny}
  - {name: silent, condition: "order_id.value == ''", action: require_approval}
"""


def refund(action: str, customer_id: str, order_id: str, amount: float) -> str:
    return order_id


def main(rounds: int) -> None:
    governed = govern(refund, policy=POLICY, agent_id="bench-0")
    took = []
    for number in range(rounds):
        given = {"customer_id": f"c-{number % 1000}", "order_id": f"o-{number}", "amount": number % 150 + 0.5}
        began = time.perf_counter()
        governed(action="payments.refund", **given)
        took.append((time.perf_counter() - began) * 1e6)
    took.sort()
    try:
        governed(action="payments.refund", customer_id="c-1", order_id="o-1", amount=300.0)
    except GovernanceDenied:
        pass
    else:
        raise SystemExit("the peer allowed what its policy denies: this compares nothing")
    name = "agent-governance-toolkit-core"
    print(json.dumps({"peer": f"{name} {version(name)}", "p50_us": took[rounds // 2], "rounds": rounds}))


main(int(sys.argv[1]))
