"""Keys, persons, agents and signed orders."""
