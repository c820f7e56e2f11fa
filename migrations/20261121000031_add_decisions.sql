-- The facts of a decision about a run, so that it can be decided again under another policy. The policy itself is kept
-- by its hash. `facts` is JSON as Titan wrote it; a later version that cannot read it passes it over.
CREATE TABLE decision (
    command_id    BIGINT PRIMARY KEY CONSTRAINT decision_command_exists REFERENCES command (id),
    repository_id BIGINT NOT NULL CONSTRAINT decision_repository_exists REFERENCES repository (id),
    policy_hash   TEXT NOT NULL CONSTRAINT decision_policy_exists REFERENCES policy (hash),
    facts         TEXT NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX decision_repository ON decision (repository_id, command_id);
