-- When something that may have been made at GitHub was not found there for the first time. A call whose answer was lost may
-- still be on its way, so only what is not found twice counts as not made. The previous release ignores the column.
ALTER TABLE feedback ADD COLUMN missed_at TIMESTAMPTZ;
