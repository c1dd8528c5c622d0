"""Who plays in the demonstration, and the two texts that people would write: the contract and the settings.

The contract is one that many would write first: it *records* a repeated notice and asks nobody, and a rate limit
stands behind it. It says itself that a record is all that a repeat asks for (R7).
"""

from __future__ import annotations

from typing import Final

AGENT: Final = "spiffe://shop.example/agent/refund-bot"
AGENT_NAME: Final = "refund-bot"
OWNER: Final = "dana"
OWNER_MAIL: Final = "dana@owners.example"
APPROVER: Final = "lee"
APPROVER_MAIL: Final = "lee@owners.example"

CUSTOMER_DOMAIN: Final = "customers.shop.example"
CUSTOMERS: Final = tuple(f"k-{number}" for number in range(2041, 2052))
NOTICE: Final = "parcel-late"
REQUEST: Final = "Carrier delay: tell each customer with a parcel on the way, once, that it will be late."

SEND: Final = "notices.send"
SEND_BULK: Final = "notices.send_bulk"
REPEAT_LIMIT: Final = "one-notice-each"
RATE_LIMIT: Final = "notices-per-minute"
PER_MINUTE: Final = 24
STATED_BOUND_MS: Final = 50

#: witness -> (the mail server's account or the shop's table it reads, the tool whose effects it shows)
MAIL_LOGS: Final = {"mail-log": ("notices", SEND), "mail-log-bulk": ("bulk", SEND_BULK)}
SHOP_LOGS: Final = {"shop": ("notice", SEND), "shop-bulk": ("bulk_notice", SEND_BULK)}
SHOP_DATABASE: Final = "shop.db"
#: Header in which the shop names the notice, and the one in which a tool passes on the marker of its action.
NOTICE_HEADER: Final = "X-Shop-Notice"
ACTION_HEADER: Final = "X-Failwell-Action"

CONTRACT: Final = f"""\
contract: {AGENT_NAME}
version: 1
agent: {AGENT}
owner: {OWNER}
purpose: Tell customers, each of them once, that their parcel will be late.
tools:
  - tool: {SEND}
    effect: irreversible
    executor: supervised
    custody: none                    # the mail server takes mail from anybody here: the gate is advisory
    deadline: 10s
    arguments: {{customer_id: "id", notice: "id"}}
    affects: {{customer: customer_id}}
    witness: shop
  - tool: {SEND_BULK}
    effect: irreversible
    executor: supervised
    custody: none
    deadline: 2m
    arguments: {{customer_ids: "list(id, max 500)", notice: "id"}}
    witness: shop-bulk
limits:
  - {{id: {REPEAT_LIMIT}, once_per: {SEND}, keys: [customer_id, notice], then: record, severity: minor}}
  - {{id: {RATE_LIMIT}, count: [{SEND}, {SEND_BULK}], at_most: {PER_MINUTE}, per: 1m, then: deny, severity: major}}
response:
  - {{signal: "recorded({REPEAT_LIMIT})", do: [record]}}
  - {{signal: "denied({RATE_LIMIT})", do: [interrupt, suspend, hold, notify]}}
escalation:
  - {{notify: owner, by: [email]}}
"""


def settings_text(smtp_port: int) -> str:
    """`failwell.toml` of the demonstration; the shop's and the mail server's own logs lie beside the workspace."""
    parts = [
        "# Settings of a demonstration's workspace.",
        f"[node]\nidle_s = 60\ninterrupt_bound_ms = {STATED_BOUND_MS}",
        f'[mail]\nhost = "127.0.0.1"\nport = {smtp_port}\nsender = "failwell@shop.example"\nsecurity = "none"',
    ]
    for name, (account, tool) in MAIL_LOGS.items():
        parts.append(_witness(name, tool, f'kind = "jsonl"\npath = "../mail/{account}.jsonl"\nat = "at"'))
    for name, (table, tool) in SHOP_LOGS.items():
        where = f'kind = "sqlite"\npath = "../shop/{SHOP_DATABASE}"\ntable = "{table}"\nat = "sent_at"'
        parts.append(_witness(name, tool, where))
    return "\n\n".join(parts) + "\n"


def _witness(name: str, tool: str, where: str) -> str:
    fields = 'ref = "id"\ncustomer = "customer"\naction = "failwell_action"'
    return f'[witness.{name}]\n{where}\nagent = "{AGENT_NAME}"\ntool = "{tool}"\n{fields}'
