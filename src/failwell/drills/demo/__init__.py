"""The demonstration's own world: a shop, its mail server, its agent, the contract; and how the story is told.

What starts and wires it stands in `cli.demo`. Nothing here decides what is counted: that is read from the ledger.
"""
