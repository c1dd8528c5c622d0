"""Trusted sources of facts: a command that the operator declared, or an address on this machine (D23)."""
