"""The offline check: takes bytes, needs no workspace."""
