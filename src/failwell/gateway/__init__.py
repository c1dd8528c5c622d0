"""The MCP door: an agent's client speaks to it as to any tool server; every call goes through the gate.

It judges nothing, holds no tool server and no secret: what it shows and forwards it has from a `Backend`, which is the
workspace's node.
"""
