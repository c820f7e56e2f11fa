-- One budget of calls to GitHub for each installation, shared by all replicas, and the age of what people were not shown
-- yet. Works beside the previous release: it knows neither the table nor the new columns, every column has a default,
-- and a row of `feedback` that it writes says, as before, that the thing may exist at GitHub.

CREATE TABLE github_budget (
    -- 0 is the App itself, whose own calls are counted apart.
    installation_id    BIGINT CONSTRAINT github_budget_key PRIMARY KEY,
    -- What GitHub's headers said last about the hour.
    rate_limit         BIGINT,
    rate_remaining     BIGINT,
    rate_reset_at      TIMESTAMPTZ,
    -- No call of a lane, or of one below it, before then; and how often in a row GitHub named no time.
    decision_until     TIMESTAMPTZ,
    decision_strikes   INTEGER NOT NULL DEFAULT 0,
    effect_until       TIMESTAMPTZ,
    effect_strikes     INTEGER NOT NULL DEFAULT 0,
    update_until       TIMESTAMPTZ,
    update_strikes     INTEGER NOT NULL DEFAULT 0,
    -- The last write, and the last that was an update: the next one keeps its distance.
    written_at         TIMESTAMPTZ,
    updated_at         TIMESTAMPTZ,
    effect_waits_until TIMESTAMPTZ,
    calls              BIGINT NOT NULL DEFAULT 0,
    writes             BIGINT NOT NULL DEFAULT 0,
    not_modified       BIGINT NOT NULL DEFAULT 0,
    -- Answers that were limits, and calls that were not made because of one.
    limited            BIGINT NOT NULL DEFAULT 0,
    held_back          BIGINT NOT NULL DEFAULT 0,
    CONSTRAINT github_budget_rate_whole
        CHECK ((rate_limit IS NULL) = (rate_remaining IS NULL) AND (rate_limit IS NULL) = (rate_reset_at IS NULL))
);

ALTER TABLE feedback
    -- Since when GitHub shows something else than it should; null when it shows what it should.
    ADD COLUMN pending_since TIMESTAMPTZ,
    -- Whether a call for it may have gone out.
    ADD COLUMN tried BOOLEAN NOT NULL DEFAULT true,
    -- Hash of what the last call was to bring.
    ADD COLUMN intent_hash TEXT,
    -- What GitHub said when it would not take it.
    ADD COLUMN refused TEXT;
CREATE INDEX feedback_pending ON feedback (pending_since) WHERE pending_since IS NOT NULL;
