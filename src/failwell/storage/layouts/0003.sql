-- What people still have to answer, what is owed to a look at the world, and what stands under every contract.
CREATE TABLE ticket (key INTEGER PRIMARY KEY, row TEXT NOT NULL) STRICT;
CREATE INDEX ticket_live ON ticket (key) WHERE instr(row, '"ended":false');
CREATE TABLE "check" (key TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX check_owed ON "check" (key) WHERE instr(row, '"state":"owed"');
CREATE TABLE floor  (key TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
