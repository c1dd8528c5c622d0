"""The MCP door: an agent's client speaks to it as to any tool server; every call goes through the gate."""
