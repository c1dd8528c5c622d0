-- Scopes that people stopped, undoings that are owed, and tools that were reached round the gate.
CREATE TABLE stop    (key TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE compensation (key INTEGER PRIMARY KEY, row TEXT NOT NULL) STRICT;
CREATE INDEX compensation_due ON compensation (key)
  WHERE (instr(row, '"state":"owed"') OR instr(row, '"state":"begun"'));
CREATE TABLE custody (key TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
