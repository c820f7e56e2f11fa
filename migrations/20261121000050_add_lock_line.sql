-- Locks with a fence, a purpose and an end; the line of those who wait; a run that puts a canary back by itself.
-- Works beside the previous release: it only adds columns with defaults and words. The previous release gives its runs no
-- fence, and such a run is held back by its lease alone, as before; it cannot read a job of the kind `line`, leaves it to
-- its lease, and this release takes it.

-- Rises with every run and every hand that takes a lock; a run whose number is not the lock's any more may do nothing.
CREATE SEQUENCE lock_fence;
ALTER TABLE environment_lock
    ADD COLUMN fence BIGINT NOT NULL DEFAULT nextval('lock_fence'),
    -- By a run, by hand, or for a person to look at: then only an unlock gives it back.
    ADD COLUMN held_for TEXT NOT NULL DEFAULT 'run'
        CONSTRAINT environment_lock_held_for_known CHECK (held_for IN ('run', 'hand', 'look')),
    -- Null: not by itself.
    ADD COLUMN expires_at TIMESTAMPTZ,
    -- When people are told that it will; null: told, or never.
    ADD COLUMN remind_at TIMESTAMPTZ,
    ADD CONSTRAINT environment_lock_reminder_whole CHECK (remind_at IS NULL OR expires_at IS NOT NULL);
CREATE INDEX environment_lock_expiry ON environment_lock (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX environment_lock_change ON environment_lock (change_id);

-- The fences that a run was given with its locks. Compared in the transaction that commits an intent.
CREATE TABLE run_lock (
    run_id      UUID NOT NULL CONSTRAINT run_lock_run_exists REFERENCES run (id),
    environment TEXT NOT NULL
                CONSTRAINT run_lock_environment_known CHECK (environment IN ('canary', 'production')),
    fence       BIGINT NOT NULL,
    CONSTRAINT run_lock_key PRIMARY KEY (run_id, environment)
);

-- Who waits for a project, in the order of the ids; a rollback goes first. The command is concluded as `queued` meanwhile.
CREATE TABLE queue_entry (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id BIGINT NOT NULL CONSTRAINT queue_entry_project_exists REFERENCES project (id),
    change_id  BIGINT NOT NULL CONSTRAINT queue_entry_change_exists REFERENCES change (id),
    command_id BIGINT NOT NULL CONSTRAINT queue_entry_command_once UNIQUE
               CONSTRAINT queue_entry_command_exists REFERENCES command (id),
    kind       TEXT NOT NULL CONSTRAINT queue_entry_kind_known CHECK (kind IN ('canary', 'promote', 'rollback')),
    -- The head that the person meant.
    head       TEXT NOT NULL,
    -- The id that its run will have, so that the check which shows the waiting becomes the run's.
    run_id     UUID NOT NULL,
    since      TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT queue_entry_once UNIQUE (project_id, change_id)
);
CREATE INDEX queue_entry_change ON queue_entry (change_id);

-- Closed by merging; then what was on the canary stays there.
ALTER TABLE change ADD COLUMN merged BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE command DROP CONSTRAINT command_conclusion_known,
    ADD CONSTRAINT command_conclusion_known CHECK
    (conclusion IN ('started', 'refused', 'done', 'answered', 'misunderstood', 'queued', 'withdrawn'));
ALTER TABLE run
    -- It waited in line and never began; what its check showed meanwhile has to come to an end.
    ADD COLUMN waited BOOLEAN NOT NULL DEFAULT FALSE,
    DROP CONSTRAINT run_kind_known,
    ADD CONSTRAINT run_kind_known CHECK (kind IN ('propose', 'canary', 'promote', 'rollback', 'restore'));
DROP INDEX run_one_active_deployment;
CREATE UNIQUE INDEX run_one_active_deployment ON run (project_id)
    WHERE status <> 'completed' AND kind IN ('canary', 'promote', 'rollback', 'restore');
ALTER TABLE release DROP CONSTRAINT release_status_known,
    ADD CONSTRAINT release_status_known CHECK (status IN ('unproven', 'good', 'bad', 'withdrawn'));
ALTER TABLE job DROP CONSTRAINT job_kind_known,
    ADD CONSTRAINT job_kind_known CHECK (kind IN ('intake', 'step', 'report', 'explain', 'line'));
