"""Tool servers: long-lived processes that the node starts for one session of an agent, and asks on its behalf."""
