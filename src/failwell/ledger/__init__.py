"""The one writer: submit, number, commit, read back, acknowledge."""
