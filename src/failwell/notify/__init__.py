"""How people outside are told (SMTP)."""
