"""The Model Context Protocol as data: messages, revisions, tool definitions and what they are worth. No IO."""
