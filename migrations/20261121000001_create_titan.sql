-- Everything that Titan remembers. The first migration, so it has no earlier release to work beside.
-- Closed sets are TEXT with a named CHECK; instants are UTC; every constraint has a name because the code maps on it.

-- The App on one GitHub account: the tenant. A halt stops every deployment of the account.
CREATE TABLE installation (
    id          BIGINT PRIMARY KEY,
    account     TEXT NOT NULL,
    status      TEXT NOT NULL DEFAULT 'active'
                CONSTRAINT installation_status_known CHECK (status IN ('active', 'suspended', 'deleted')),
    halted_at   TIMESTAMPTZ,
    halted_by   TEXT,
    halt_reason TEXT NOT NULL DEFAULT '',
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT installation_halt_whole CHECK ((halted_at IS NULL) = (halted_by IS NULL))
);

-- A repository starts disarmed: armed_at is null until an admin comments `/titan arm`.
CREATE TABLE repository (
    id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    installation_id BIGINT NOT NULL CONSTRAINT repository_installation_exists REFERENCES installation (id),
    owner           TEXT NOT NULL,
    name            TEXT NOT NULL,
    armed_at        TIMESTAMPTZ,
    armed_by        TEXT,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT now()
);
-- GitHub compares repository names without regard to case.
CREATE UNIQUE INDEX repository_name_unique ON repository (lower(owner), lower(name));

-- One deployable thing of a repository, as the policy named it when it was last used.
CREATE TABLE project (
    id             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository_id  BIGINT NOT NULL CONSTRAINT project_repository_exists REFERENCES repository (id),
    name           TEXT NOT NULL,
    canary_url     TEXT,
    production_url TEXT,
    created_at     TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT project_name_unique UNIQUE (repository_id, name)
);

-- A pull request under Titan's care.
CREATE TABLE change (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository_id BIGINT NOT NULL CONSTRAINT change_repository_exists REFERENCES repository (id),
    number        BIGINT NOT NULL,
    head          TEXT,
    open          BOOLEAN NOT NULL DEFAULT TRUE,
    -- What the status comment shows besides the runs: the answer to the latest command, Markdown.
    answer        TEXT NOT NULL DEFAULT '',
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT change_number_unique UNIQUE (repository_id, number)
);

-- One webhook POST. Its id is GitHub's, so a redelivery is the same row.
CREATE TABLE delivery (
    id          TEXT PRIMARY KEY,
    event       TEXT NOT NULL,
    action      TEXT,
    repository  TEXT,
    body_bytes  BIGINT NOT NULL,
    -- Null when the delivery is acted on; otherwise why it is not.
    ignored     TEXT,
    received_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX delivery_received ON delivery (received_at);

-- Which head a pull request had since when, as GitHub told it. A command binds to the head known at its time.
CREATE TABLE head_ledger (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    change_id   BIGINT NOT NULL CONSTRAINT head_ledger_change_exists REFERENCES change (id),
    head        TEXT NOT NULL,
    delivery_id TEXT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT head_ledger_delivery_unique UNIQUE (change_id, delivery_id)
);

-- What people asked for, once each: the key is the comment, label event or button press that it came from.
CREATE TABLE command (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    change_id    BIGINT NOT NULL CONSTRAINT command_change_exists REFERENCES change (id),
    key          TEXT NOT NULL CONSTRAINT command_key_unique UNIQUE,
    source       TEXT NOT NULL
                 CONSTRAINT command_source_known CHECK (source IN ('comment', 'label', 'button', 'api', 'automatic')),
    actor        TEXT NOT NULL,
    text         TEXT NOT NULL,
    comment_id   BIGINT,
    conclusion   TEXT CONSTRAINT command_conclusion_known
                 CHECK (conclusion IN ('started', 'refused', 'done', 'answered', 'misunderstood')),
    reason       TEXT,
    received_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    concluded_at TIMESTAMPTZ,
    CONSTRAINT command_conclusion_whole CHECK ((conclusion IS NULL) = (concluded_at IS NULL))
);
CREATE INDEX command_change ON command (change_id, id);

-- One command, accepted or refused, for one project at one commit.
CREATE TABLE run (
    id            UUID PRIMARY KEY,
    change_id     BIGINT NOT NULL CONSTRAINT run_change_exists REFERENCES change (id),
    project_id    BIGINT CONSTRAINT run_project_exists REFERENCES project (id),
    command_id    BIGINT CONSTRAINT run_command_unique UNIQUE CONSTRAINT run_command_exists REFERENCES command (id),
    -- The run that this one cleans up after, for an automatic rollback. At most one each.
    cause_run_id  UUID CONSTRAINT run_cause_unique UNIQUE CONSTRAINT run_cause_exists REFERENCES run (id),
    kind          TEXT NOT NULL CONSTRAINT run_kind_known CHECK (kind IN ('propose', 'canary', 'promote', 'rollback')),
    head          TEXT NOT NULL,
    actor         TEXT NOT NULL,
    policy_hash   TEXT,
    policy_commit TEXT,
    status        TEXT NOT NULL
                  CONSTRAINT run_status_known CHECK (status IN ('queued', 'running', 'undoing', 'completed')),
    conclusion    TEXT CONSTRAINT run_conclusion_known
                  CHECK (conclusion IN ('success', 'failure', 'inconclusive', 'refused', 'cancelled')),
    summary       TEXT NOT NULL DEFAULT '',
    gates         JSONB NOT NULL DEFAULT '[]',
    -- Who asked to stop it; it stops before its next effect.
    cancel_by     TEXT,
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    completed_at  TIMESTAMPTZ,
    CONSTRAINT run_conclusion_whole CHECK ((status = 'completed') = (conclusion IS NOT NULL))
);
CREATE INDEX run_change ON run (change_id, id);
-- One run at a time changes a project.
CREATE UNIQUE INDEX run_one_active_deployment ON run (project_id)
    WHERE status <> 'completed' AND kind IN ('canary', 'promote', 'rollback');
-- One proposal at a time of one head.
CREATE UNIQUE INDEX run_one_active_proposal ON run (change_id, head, COALESCE(project_id, 0))
    WHERE status <> 'completed' AND kind = 'propose';

-- One durable effect of a run. `progress` is what the step itself remembers: intents and what came of them.
CREATE TABLE step (
    run_id       UUID NOT NULL CONSTRAINT step_run_exists REFERENCES run (id),
    position     INTEGER NOT NULL,
    name         TEXT NOT NULL,
    status       TEXT NOT NULL DEFAULT 'pending'
                 CONSTRAINT step_status_known CHECK (status IN ('pending', 'running', 'succeeded', 'failed', 'skipped')),
    detail       TEXT NOT NULL DEFAULT '',
    progress     JSONB NOT NULL DEFAULT '{}',
    started_at   TIMESTAMPTZ,
    completed_at TIMESTAMPTZ,
    CONSTRAINT step_key PRIMARY KEY (run_id, position)
);

-- What happened to a run, append-only; the live page, the API's event stream and the metrics read it.
CREATE TABLE run_event (
    id     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id UUID NOT NULL CONSTRAINT run_event_run_exists REFERENCES run (id),
    kind   TEXT NOT NULL,
    data   JSONB NOT NULL DEFAULT '{}',
    at     TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX run_event_run ON run_event (run_id, id);

-- Queued units that a worker claims for a limited time. A finished job is deleted; a dead one waits for a person.
CREATE SEQUENCE job_fence;
CREATE TABLE job (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        TEXT NOT NULL CONSTRAINT job_kind_known CHECK (kind IN ('intake', 'step', 'report')),
    -- Jobs with the same key are carried out one at a time, in the order of their ids.
    key         TEXT NOT NULL,
    -- JSON text; not JSONB, because text from outside may hold what JSONB cannot.
    payload     TEXT NOT NULL,
    status      TEXT NOT NULL DEFAULT 'queued'
                CONSTRAINT job_status_known CHECK (status IN ('queued', 'running', 'dead')),
    run_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    attempts    INTEGER NOT NULL DEFAULT 0,
    lease_until TIMESTAMPTZ,
    -- Rises with every claim of any job; a commit that carries an older one is refused.
    fence       BIGINT,
    last_error  TEXT,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT job_lease_whole CHECK ((status = 'running') = (lease_until IS NOT NULL))
);
CREATE INDEX job_due ON job (run_at) WHERE status = 'queued';
CREATE INDEX job_leased ON job (lease_until) WHERE status = 'running';
CREATE INDEX job_key_order ON job (key, id) WHERE status <> 'dead';
CREATE UNIQUE INDEX job_one_running_per_key ON job (key) WHERE status = 'running';
-- A report job says only "show the latest": one waiting is enough.
CREATE UNIQUE INDEX job_report_once ON job (key) WHERE kind = 'report' AND status = 'queued';

-- An environment held by one change, from its canary until it is shipped, put back or closed; or by hand.
CREATE TABLE environment_lock (
    project_id  BIGINT NOT NULL CONSTRAINT environment_lock_project_exists REFERENCES project (id),
    environment TEXT NOT NULL
                CONSTRAINT environment_lock_environment_known CHECK (environment IN ('canary', 'production')),
    change_id   BIGINT NOT NULL CONSTRAINT environment_lock_change_exists REFERENCES change (id),
    taken_by    TEXT NOT NULL,
    reason      TEXT NOT NULL DEFAULT '',
    taken_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT environment_lock_key PRIMARY KEY (project_id, environment)
);

-- What has been live on a service, newest last: the pipeline. Only `good` ones are targets of a rollback.
CREATE TABLE release (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  BIGINT NOT NULL CONSTRAINT release_project_exists REFERENCES project (id),
    environment TEXT NOT NULL CONSTRAINT release_environment_known CHECK (environment IN ('canary', 'production')),
    commit      TEXT NOT NULL,
    deploy_id   TEXT,
    -- Null for a version that was found there.
    run_id      UUID CONSTRAINT release_run_exists REFERENCES run (id),
    status      TEXT NOT NULL CONSTRAINT release_status_known CHECK (status IN ('unproven', 'good', 'bad')),
    current     BOOLEAN NOT NULL,
    since       TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX release_one_current ON release (project_id, environment) WHERE current;
CREATE INDEX release_history ON release (project_id, environment, id);

-- What a run leaves. The text is kept in chunks so that it can be followed while it grows.
CREATE TABLE artifact (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id     UUID NOT NULL CONSTRAINT artifact_run_exists REFERENCES run (id),
    kind       TEXT NOT NULL CONSTRAINT artifact_kind_known
               CHECK (kind IN ('build-log', 'patch', 'build-output', 'release-manifest')),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT artifact_kind_once UNIQUE (run_id, kind)
);
CREATE TABLE artifact_chunk (
    artifact_id BIGINT NOT NULL CONSTRAINT artifact_chunk_artifact_exists REFERENCES artifact (id),
    seq         BIGINT GENERATED ALWAYS AS IDENTITY,
    content     TEXT NOT NULL,
    CONSTRAINT artifact_chunk_key PRIMARY KEY (artifact_id, seq)
);

-- One probe during a bake.
CREATE TABLE sample (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id     UUID NOT NULL CONSTRAINT sample_run_exists REFERENCES run (id),
    healthy    BOOLEAN NOT NULL,
    latency_ms INTEGER,
    identity   TEXT NOT NULL CONSTRAINT sample_identity_known CHECK (identity IN ('expected', 'other', 'unknown')),
    error      TEXT,
    at         TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX sample_run ON sample (run_id, id);

-- What Titan has written at GitHub for a change: the intent first, then GitHub's id and a hash of what was sent last.
CREATE TABLE feedback (
    change_id   BIGINT NOT NULL CONSTRAINT feedback_change_exists REFERENCES change (id),
    -- `comment`, `check:<run>:<name>` or `deployment:<run>`.
    key         TEXT NOT NULL,
    external_id BIGINT,
    sent_hash   TEXT,
    intent_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    sent_at     TIMESTAMPTZ,
    CONSTRAINT feedback_key PRIMARY KEY (change_id, key)
);

-- The policies that runs were decided under, by hash, so that every step of a run reads the one it is pinned to.
CREATE TABLE policy (
    hash    TEXT PRIMARY KEY,
    body    TEXT NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
