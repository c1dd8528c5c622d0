"""The verifier that needs nothing: bare Python, no installation, no network, no trust in whoever kept the record."""
