"""A tool server that is elsewhere, asked over HTTP as if its process were here."""
