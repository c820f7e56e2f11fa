-- The audit log: every decision, refusal and effect, one chain of hashes for each installation.
--
-- It is written by triggers, so that no statement, of whatever release or person, can change what it tells of without
-- leaving an entry. An entry is chained when its transaction commits: the chain's lock is the last one taken, so it can
-- neither hold up other work nor deadlock with it. Only adds, so the previous release works beside it.

CREATE TABLE audit_chain (
    installation_id BIGINT PRIMARY KEY CONSTRAINT audit_chain_installation_exists REFERENCES installation (id),
    entries         BIGINT NOT NULL DEFAULT 0,
    head            TEXT NOT NULL DEFAULT repeat('0', 64)
);

CREATE TABLE audit (
    id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    installation_id BIGINT NOT NULL CONSTRAINT audit_installation_exists REFERENCES installation (id),
    -- JSON text, kept byte for byte because it is what is hashed.
    body            TEXT NOT NULL,
    -- From 1 without gaps; null only inside the transaction that writes the entry, like the two hashes.
    position        BIGINT,
    previous        TEXT,
    hash            TEXT,
    CONSTRAINT audit_position_unique UNIQUE (installation_id, position)
);

-- The hash is SHA-256 in hexadecimal over: the previous hash, the installation, the position and the body, each followed
-- by a line feed but the last. `domain::audit` computes the same.
CREATE FUNCTION audit_seal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    chain audit_chain%ROWTYPE;
    sealed TEXT;
BEGIN
    INSERT INTO audit_chain (installation_id) VALUES (NEW.installation_id) ON CONFLICT DO NOTHING;
    SELECT * INTO chain FROM audit_chain WHERE installation_id = NEW.installation_id FOR UPDATE;
    sealed := encode(sha256(convert_to(
        chain.head || E'\n' || NEW.installation_id || E'\n' || (chain.entries + 1) || E'\n' || NEW.body, 'UTF8')), 'hex');
    UPDATE audit SET position = chain.entries + 1, previous = chain.head, hash = sealed WHERE id = NEW.id;
    UPDATE audit_chain SET entries = chain.entries + 1, head = sealed WHERE installation_id = NEW.installation_id;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER audit_sealed AFTER INSERT ON audit DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.hash IS NULL) EXECUTE FUNCTION audit_seal();

CREATE FUNCTION audit_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.hash IS NULL AND NEW.body = OLD.body AND NEW.installation_id = OLD.installation_id THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the audit log is only added to';
END $$;
CREATE TRIGGER audit_kept BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_keep();
CREATE TRIGGER audit_kept_whole BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_keep();

CREATE FUNCTION audit_write(its_installation BIGINT, its_kind TEXT, facts JSONB) RETURNS void LANGUAGE sql AS $$
    INSERT INTO audit (installation_id, body)
    VALUES (its_installation, jsonb_strip_nulls(jsonb_build_object('kind', its_kind, 'at', now()) || facts)::text)
$$;

-- What a run is about, for the entries that concern one.
CREATE FUNCTION audit_of_run(its_run UUID, its_kind TEXT, facts JSONB) RETURNS void LANGUAGE sql AS $$
    SELECT audit_write(r.installation_id, its_kind, jsonb_build_object(
        'repository', r.owner || '/' || r.name, 'pull_request', c.number, 'run', run.id, 'command', run.kind,
        'project', p.name, 'actor', run.actor, 'surface', COALESCE(command.source, 'automatic'), 'commit', run.head,
        'policy', run.policy_hash, 'policy_commit', run.policy_commit) || facts)
    FROM run JOIN change c ON c.id = run.change_id JOIN repository r ON r.id = c.repository_id
    LEFT JOIN project p ON p.id = run.project_id LEFT JOIN command ON command.id = run.command_id
    WHERE run.id = its_run
$$;

-- Decisions: written when the transaction commits, because the run that a command started comes after it.
CREATE FUNCTION audit_command() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM audit_write(r.installation_id, 'command', jsonb_build_object(
        'repository', r.owner || '/' || r.name, 'pull_request', c.number, 'run', run.id, 'key', NEW.key,
        'actor', NEW.actor, 'surface', NEW.source, 'text', NEW.text, 'conclusion', NEW.conclusion, 'reason', NEW.reason,
        'commit', COALESCE(run.head, c.head), 'policy', run.policy_hash, 'gates', run.gates))
    FROM change c JOIN repository r ON r.id = c.repository_id LEFT JOIN run ON run.command_id = NEW.id
    WHERE c.id = NEW.change_id;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER command_audited AFTER UPDATE ON command DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.conclusion IS DISTINCT FROM OLD.conclusion) EXECUTE FUNCTION audit_command();

-- A run's way. Its steps' lines of progress are left out: what they did is in the intents and outcomes below.
CREATE FUNCTION audit_run_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM audit_of_run(NEW.run_id, 'run_' || NEW.kind, jsonb_build_object('data', NEW.data));
    RETURN NULL;
END $$;
CREATE TRIGGER run_event_audited AFTER INSERT ON run_event FOR EACH ROW
    WHEN (NEW.kind <> 'step_progress') EXECUTE FUNCTION audit_run_event();

-- Effects: a step's intent is committed before its effect, and what came of it after. A bake only watches.
CREATE FUNCTION audit_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM audit_of_run(NEW.run_id, 'effect', jsonb_build_object('step', NEW.name, 'data', NEW.progress));
    RETURN NULL;
END $$;
CREATE TRIGGER step_audited AFTER UPDATE ON step FOR EACH ROW
    WHEN (NEW.progress IS DISTINCT FROM OLD.progress AND NEW.name <> 'bake') EXECUTE FUNCTION audit_step();

CREATE FUNCTION audit_feedback() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM audit_write(r.installation_id, 'feedback', jsonb_build_object(
        'repository', r.owner || '/' || r.name, 'pull_request', c.number, 'key', NEW.key, 'id', NEW.external_id,
        'sha256', NEW.sent_hash))
    FROM change c JOIN repository r ON r.id = c.repository_id WHERE c.id = NEW.change_id;
    RETURN NULL;
END $$;
CREATE TRIGGER feedback_audited AFTER UPDATE ON feedback FOR EACH ROW
    WHEN (NEW.sent_hash IS DISTINCT FROM OLD.sent_hash) EXECUTE FUNCTION audit_feedback();

CREATE FUNCTION audit_release() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM audit_write(r.installation_id, 'release', jsonb_build_object(
        'repository', r.owner || '/' || r.name, 'project', p.name, 'environment', NEW.environment, 'commit', NEW.commit,
        'deploy', NEW.deploy_id, 'run', NEW.run_id, 'status', NEW.status, 'current', NEW.current))
    FROM project p JOIN repository r ON r.id = p.repository_id WHERE p.id = NEW.project_id;
    RETURN NULL;
END $$;
CREATE TRIGGER release_audited AFTER INSERT OR UPDATE ON release FOR EACH ROW EXECUTE FUNCTION audit_release();

CREATE FUNCTION audit_lock() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    held environment_lock%ROWTYPE;
BEGIN
    IF TG_OP = 'DELETE' THEN held := OLD; ELSE held := NEW; END IF;
    PERFORM audit_write(r.installation_id, CASE TG_OP WHEN 'DELETE' THEN 'unlocked' ELSE 'locked' END, jsonb_build_object(
        'repository', r.owner || '/' || r.name, 'project', p.name, 'environment', held.environment,
        'pull_request', c.number, 'taken_by', held.taken_by, 'reason', held.reason))
    FROM project p JOIN repository r ON r.id = p.repository_id JOIN change c ON c.id = held.change_id
    WHERE p.id = held.project_id;
    RETURN NULL;
END $$;
CREATE TRIGGER environment_lock_audited AFTER INSERT OR DELETE ON environment_lock
    FOR EACH ROW EXECUTE FUNCTION audit_lock();

CREATE FUNCTION audit_repository() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM audit_write(NEW.installation_id, CASE WHEN NEW.armed_at IS NULL THEN 'disarmed' ELSE 'armed' END,
        jsonb_build_object('repository', NEW.owner || '/' || NEW.name, 'actor', NEW.armed_by));
    RETURN NULL;
END $$;
CREATE TRIGGER repository_audited AFTER UPDATE ON repository FOR EACH ROW
    WHEN (NEW.armed_at IS DISTINCT FROM OLD.armed_at) EXECUTE FUNCTION audit_repository();

CREATE FUNCTION audit_installation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' OR NEW.status IS DISTINCT FROM OLD.status THEN
        PERFORM audit_write(NEW.id, 'installation', jsonb_build_object('account', NEW.account, 'status', NEW.status));
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.halted_at IS DISTINCT FROM OLD.halted_at THEN
        PERFORM audit_write(NEW.id, CASE WHEN NEW.halted_at IS NULL THEN 'resumed' ELSE 'halted' END,
            jsonb_build_object('account', NEW.account, 'actor', NEW.halted_by, 'reason', NEW.halt_reason));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER installation_audited AFTER INSERT OR UPDATE ON installation
    FOR EACH ROW EXECUTE FUNCTION audit_installation();
