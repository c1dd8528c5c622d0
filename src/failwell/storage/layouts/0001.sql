-- The ledger file. Bytes in, bytes out: no row is interpreted here.
-- Flat on purpose (D16): entries, blobs and tokens are appended in key order, subtree hashes lie in the entry's row,
-- and the projections that grow with the record (run, action, signal, order) are keyed by entry number.
CREATE TABLE entry (
    seq    INTEGER PRIMARY KEY,
    data   BLOB NOT NULL,          -- canonical JSON, the leaf is taken over exactly these bytes
    leaf   BLOB NOT NULL,          -- RFC 6962: SHA-256(0x00 || data)
    nodes  BLOB NOT NULL           -- 32-byte hashes of the perfect subtrees that this entry completes, lowest first
) STRICT;

CREATE TABLE blob (
    seq        INTEGER PRIMARY KEY,
    ciphertext BLOB NOT NULL,
    wrapped    BLOB NOT NULL       -- the blob's own key, wrapped; erasure destroys it
) STRICT;

CREATE TABLE token (
    id     INTEGER PRIMARY KEY,    -- entry seq * 1024 + position
    token  TEXT NOT NULL,
    lookup BLOB NOT NULL,
    sealed BLOB NOT NULL
) STRICT;

CREATE TABLE checkpoint (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL,
    note BLOB NOT NULL             -- C2SP signed note over the newest tree head
) STRICT;

CREATE TABLE workspace (key INTEGER PRIMARY KEY, row TEXT NOT NULL) STRICT;
CREATE TABLE "order"  (key INTEGER PRIMARY KEY, row TEXT NOT NULL) STRICT;
CREATE TABLE run      (key INTEGER PRIMARY KEY, row TEXT NOT NULL) STRICT;
CREATE TABLE action   (key INTEGER PRIMARY KEY, row TEXT NOT NULL) STRICT;
CREATE TABLE signal   (key INTEGER PRIMARY KEY, row TEXT NOT NULL) STRICT;
CREATE TABLE incident (key INTEGER PRIMARY KEY, row TEXT NOT NULL) STRICT;
CREATE TABLE hold     (key INTEGER PRIMARY KEY, row TEXT NOT NULL) STRICT;
CREATE TABLE page     (key INTEGER PRIMARY KEY, row TEXT NOT NULL) STRICT;
CREATE TABLE head     (key TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE person   (key TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE host     (key TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE agent    (key TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE contract (key TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE witness  (key TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
