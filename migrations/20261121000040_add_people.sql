-- Who may, who agreed, which button. Only adds and widens, so the previous release works beside it: it leaves a job of
-- the new kind alone until its lease ends, and then another worker takes it.

-- GitHub's number of the person who asked, which a rename does not change; null for commands of an earlier release.
ALTER TABLE command ADD COLUMN actor_id BIGINT;

-- Who pushed this head, as far as GitHub's event told: nobody's approval counts for code of their own.
ALTER TABLE head_ledger ADD COLUMN pusher TEXT;
ALTER TABLE head_ledger ADD COLUMN pusher_id BIGINT;

-- A button of a check run, good for one press, for one commit, for a while. GitHub knows it by the nonce.
CREATE TABLE button (
    nonce         TEXT PRIMARY KEY,
    run_id        UUID NOT NULL CONSTRAINT button_run_exists REFERENCES run (id),
    check_name    TEXT NOT NULL,
    command       TEXT NOT NULL,
    head          TEXT NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at    TIMESTAMPTZ NOT NULL,
    used_at       TIMESTAMPTZ,
    used_by       TEXT,
    -- The same delivery that comes again is the same press.
    used_delivery TEXT,
    CONSTRAINT button_use_whole
        CHECK ((used_at IS NULL) = (used_by IS NULL) AND (used_at IS NULL) = (used_delivery IS NULL))
);
CREATE INDEX button_open ON button (run_id, command) WHERE used_at IS NULL;

-- A head from a fork that somebody trusts: exactly this commit, until the next push.
CREATE TABLE trusted_head (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    change_id  BIGINT NOT NULL CONSTRAINT trusted_head_change_exists REFERENCES change (id),
    head       TEXT NOT NULL,
    trusted_by TEXT NOT NULL,
    trusted_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    voided_at  TIMESTAMPTZ
);
CREATE UNIQUE INDEX trusted_head_once ON trusted_head (change_id, head) WHERE voided_at IS NULL;

-- The gates of a change as they stood a moment ago, for those who ask over the API. `actor` is empty when nobody in
-- particular asks. The web server asks and waits, a worker reads GitHub: this bounds how often, over all replicas.
CREATE TABLE explanation (
    change_id BIGINT NOT NULL CONSTRAINT explanation_change_exists REFERENCES change (id),
    actor     TEXT NOT NULL,
    asked_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    read_at   TIMESTAMPTZ,
    head      TEXT,
    tables    JSONB,
    -- Why the facts could not be read, for the one who asked.
    trouble   TEXT,
    CONSTRAINT explanation_key PRIMARY KEY (change_id, actor)
);
CREATE INDEX explanation_asked ON explanation (asked_at);

ALTER TABLE job DROP CONSTRAINT job_kind_known;
ALTER TABLE job ADD CONSTRAINT job_kind_known CHECK (kind IN ('intake', 'step', 'report', 'explain'));
CREATE UNIQUE INDEX job_explain_once ON job (key) WHERE kind = 'explain' AND status = 'queued';
