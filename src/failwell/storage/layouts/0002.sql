-- What can still change a verdict is found without reading all that no longer can.
-- Partial, on append-ordered keys: an index row goes when the action, the run or the page has ended, so they stay as
-- small as what is open (D16). A row is JSON, in which a quote inside a value is escaped: the texts match names alone.
CREATE INDEX action_open ON action (key) WHERE instr(row, '"state":"open"');
CREATE INDEX run_open    ON run (key)    WHERE instr(row, '"open":true');
CREATE INDEX page_queued ON page (key)   WHERE instr(row, '"state":"queued"');
