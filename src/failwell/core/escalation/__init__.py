"""Who is told of an incident, in which order, until one of them has taken it (R10)."""
