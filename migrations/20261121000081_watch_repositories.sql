-- Comments and labels are read for whole repositories, so that pull requests that are not known yet are among them. Only
-- adds, so the previous release works beside it, which goes on reading the comments of each change.

-- The App was in this repository at that time at the latest: what was said before was not said to Titan. Null: it is out of
-- reach. Comments written before `comments_read_at` were looked at, besides being delivered; null: never.
ALTER TABLE repository ADD COLUMN watched_from TIMESTAMPTZ DEFAULT now();
ALTER TABLE repository ADD COLUMN comments_read_at TIMESTAMPTZ;
ALTER TABLE repository ADD COLUMN labels_read_at TIMESTAMPTZ;
UPDATE repository SET watched_from = created_at;
-- As how GitHub dated the pull request when its labels were looked at; null: never.
ALTER TABLE change ADD COLUMN labels_seen TIMESTAMPTZ;
