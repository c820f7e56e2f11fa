-- What is old is removed: deliveries, and what finished runs printed and probed. Runs, releases, commands, decisions and
-- the audit log stay. Only adds, so the previous release works beside it.

-- One replica at a time.
INSERT INTO recovery (name) VALUES ('retention');

-- What counters had counted on rows that are gone, so that they never fall.
CREATE TABLE removed (
    counter TEXT CONSTRAINT removed_key PRIMARY KEY,
    total   BIGINT NOT NULL DEFAULT 0
);

-- Rows come in the order of time, so these stay small.
CREATE INDEX sample_at ON sample USING brin (at);
CREATE INDEX run_event_at ON run_event USING brin (at);
CREATE INDEX artifact_created ON artifact (created_at);
CREATE INDEX button_expires ON button (expires_at);
