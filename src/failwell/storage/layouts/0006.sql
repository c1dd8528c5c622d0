-- Who is told until somebody takes it, who is on call, which channels are proven, duties to inform, and what goes out.
CREATE TABLE escalation (key INTEGER PRIMARY KEY, row TEXT NOT NULL) STRICT;
CREATE TABLE cover      (key INTEGER PRIMARY KEY, row TEXT NOT NULL) STRICT;
CREATE TABLE on_call    (key TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE channel    (key TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE digest     (key INTEGER PRIMARY KEY, row TEXT NOT NULL) STRICT;
CREATE TABLE clock      (key TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE feed       (key TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
