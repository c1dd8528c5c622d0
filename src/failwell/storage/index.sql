-- The index beside the ledger: everything in it can be made again from there, and is, where it does not fit.
-- Written behind (D16): keys in random order would slow down the commit path the more, the longer a ledger lives.
CREATE TABLE reach (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    size   INTEGER NOT NULL,       -- entries before this number are indexed
    leaf   BLOB                    -- leaf of the last one of them: the ledger that this index belongs to
) STRICT;
INSERT INTO reach VALUES (1, 0, NULL);

CREATE TABLE agent (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

CREATE TABLE numbered (            -- an agent's own entries, in its own count
    agent INTEGER NOT NULL,
    aseq  INTEGER NOT NULL,
    seq   INTEGER NOT NULL,
    PRIMARY KEY (agent, aseq)
) STRICT, WITHOUT ROWID;

CREATE TABLE called (              -- the actions of a run
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE reserved (            -- what an action took of a limit, '' where the limit has no key
    agent INTEGER NOT NULL,
    what  TEXT    NOT NULL,
    key   TEXT    NOT NULL,
    at_us INTEGER NOT NULL,
    seq   INTEGER NOT NULL,
    adds  INTEGER NOT NULL,       -- how much
    PRIMARY KEY (agent, what, key, at_us, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE raised (
    agent INTEGER NOT NULL,
    what  TEXT    NOT NULL,
    at_us INTEGER NOT NULL,
    seq   INTEGER NOT NULL,
    PRIMARY KEY (agent, what, at_us, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE token (lookup BLOB PRIMARY KEY, id INTEGER NOT NULL) STRICT, WITHOUT ROWID;
