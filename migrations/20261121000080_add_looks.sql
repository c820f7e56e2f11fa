-- What was missed is found by looking, too: heads and closings that GitHub did not tell, comments on pull requests that
-- are not known yet. Only adds, so the previous release works beside it.

-- A push names the head before it, which orders the pushes of one second; the source says how much a row proves.
ALTER TABLE head_ledger ADD COLUMN before TEXT;
ALTER TABLE head_ledger ADD COLUMN source TEXT NOT NULL DEFAULT 'event'
    CONSTRAINT head_ledger_source_known CHECK (source IN ('opened', 'event', 'look'));
-- When the pull request itself was looked at last, besides being told of; null: never.
ALTER TABLE change ADD COLUMN looked_at TIMESTAMPTZ;
