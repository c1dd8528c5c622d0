-- One page of the ledger into the index beside it: entries from :first up to :end (`index`).

INSERT OR IGNORE INTO agent (name)
SELECT DISTINCT CAST(e.data AS TEXT) ->> '$.agent' AS name
FROM ledger.entry e
WHERE e.seq >= :first AND e.seq < :end AND name IS NOT NULL;

INSERT INTO numbered
SELECT g.id, CAST(e.data AS TEXT) ->> '$.aseq', e.seq
FROM ledger.entry e JOIN agent g ON g.name = CAST(e.data AS TEXT) ->> '$.agent'
WHERE e.seq >= :first AND e.seq < :end;

INSERT INTO called
SELECT a.row ->> '$.run' AS run, a.key
FROM ledger.action a
WHERE a.key >= :first AND a.key < :end AND run IS NOT NULL;

-- What is held of a limit at a time, and what a sequence stands on, is told by open actions and open runs. That an action
-- was asked for (rate) is so whatever came of it.
INSERT INTO reserved
SELECT g.id, h.value ->> 1, coalesce(h.value ->> 2, ''), a.row ->> '$.limit_us', a.key, h.value ->> 3
FROM ledger.action a, json_each(a.row, '$.held') h JOIN agent g ON g.name = h.value ->> 0
WHERE a.key >= :first AND a.key < :end AND h.value ->> 4 NOT IN ('concurrent', 'sequence', 'gives')
      AND (a.row ->> '$.state' <> 'blocked' OR h.value ->> 4 = 'rate');

-- What an earlier action reserved is given back by an outcome in this page: it was proved not to have started.
-- Entries are canonical JSON, in which a quote inside a text is escaped: what is looked for stands for itself.
DELETE FROM reserved WHERE (agent, what, key, at_us, seq) IN (
    SELECT g.id, h.value ->> 1, coalesce(h.value ->> 2, ''), a.row ->> '$.limit_us', a.key
    FROM ledger.entry e JOIN ledger.action a ON a.key = CAST(e.data AS TEXT) ->> '$.body.decision',
         json_each(a.row, '$.held') h JOIN agent g ON g.name = h.value ->> 0
    WHERE e.seq >= :first AND e.seq < :end AND instr(e.data, CAST('"kind":"outcome"' AS BLOB))
          AND CAST(e.data AS TEXT) ->> '$.body.state' = 'blocked' AND h.value ->> 4 <> 'rate'
);

INSERT INTO raised
SELECT g.id, s.row ->> '$.signal', s.row ->> '$.at_us', s.key
FROM ledger.signal s JOIN agent g ON g.name = s.row ->> '$.agent'
WHERE s.key >= :first AND s.key < :end;

INSERT OR REPLACE INTO token
SELECT lookup, id FROM ledger.token
WHERE id >= :first * :tokens AND id < :end * :tokens;

UPDATE reach SET size = :end, leaf = (SELECT leaf FROM ledger.entry WHERE seq = :end - 1);
