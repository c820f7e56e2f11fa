-- Finding again what GitHub could not or did not deliver. Only adds, so the previous release works beside it.

-- GitHub's number of the repository, which comes with every event; null until the next one.
ALTER TABLE repository ADD COLUMN github_id BIGINT;
-- Comments written before this time were looked at, besides being delivered; null: never.
ALTER TABLE change ADD COLUMN comments_read_at TIMESTAMPTZ;

-- A delivery that GitHub's log shows and the inbox does not hold, and how often it was asked for again.
CREATE TABLE redelivery (
    guid         TEXT PRIMARY KEY,
    -- The newest attempt, by which GitHub is asked.
    attempt_id   BIGINT NOT NULL,
    event        TEXT NOT NULL,
    action       TEXT,
    -- The first attempt.
    delivered_at TIMESTAMPTZ NOT NULL,
    asked_at     TIMESTAMPTZ,
    times        INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT redelivery_asking_whole CHECK ((asked_at IS NULL) = (times = 0))
);

-- A command that was found by reading the comments of a pull request; the key is the command's.
CREATE TABLE recovered_comment (
    key      TEXT PRIMARY KEY,
    found_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Who looks now and how far it was looked: one replica at a time. `busy_until` is short, so that a crash holds nobody up.
CREATE TABLE recovery (
    name       TEXT PRIMARY KEY,
    busy_until TIMESTAMPTZ,
    begun_at   TIMESTAMPTZ,
    read_to    TIMESTAMPTZ
);
INSERT INTO recovery (name) VALUES ('deliveries'), ('comments');
