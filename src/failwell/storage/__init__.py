"""Where entries, blobs and projections are kept (SQLite)."""
