-- The audit log tells of the line in front of a lock, of trust in a fork's commit, of the buttons of checks, of what a
-- lock is held for, and of the receipts of judged files. Only adds triggers, so the previous release works beside it.

CREATE FUNCTION audit_line() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    waits queue_entry%ROWTYPE;
BEGIN
    IF TG_OP = 'DELETE' THEN waits := OLD; ELSE waits := NEW; END IF;
    PERFORM audit_write(r.installation_id, CASE TG_OP WHEN 'INSERT' THEN 'line_joined' WHEN 'DELETE' THEN 'line_left'
        ELSE 'line_changed' END, jsonb_build_object(
        'repository', r.owner || '/' || r.name, 'project', p.name, 'pull_request', c.number, 'command', waits.kind,
        'commit', waits.head, 'run', waits.run_id, 'actor', command.actor, 'surface', command.source))
    FROM project p JOIN repository r ON r.id = p.repository_id JOIN change c ON c.id = waits.change_id
    JOIN command ON command.id = waits.command_id WHERE p.id = waits.project_id;
    RETURN NULL;
END $$;
CREATE TRIGGER queue_entry_audited AFTER INSERT OR UPDATE OR DELETE ON queue_entry
    FOR EACH ROW EXECUTE FUNCTION audit_line();

CREATE FUNCTION audit_trust() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM audit_write(r.installation_id, CASE TG_OP WHEN 'INSERT' THEN 'trusted' ELSE 'trust_ended' END,
        jsonb_build_object('repository', r.owner || '/' || r.name, 'pull_request', c.number, 'commit', NEW.head,
        'actor', NEW.trusted_by))
    FROM change c JOIN repository r ON r.id = c.repository_id WHERE c.id = NEW.change_id;
    RETURN NULL;
END $$;
CREATE TRIGGER trusted_head_audited AFTER INSERT ON trusted_head FOR EACH ROW EXECUTE FUNCTION audit_trust();
CREATE TRIGGER trusted_head_end_audited AFTER UPDATE ON trusted_head FOR EACH ROW
    WHEN (NEW.voided_at IS DISTINCT FROM OLD.voided_at) EXECUTE FUNCTION audit_trust();

-- A nonce is good for a press, so the log knows a button by its hash only.
CREATE FUNCTION audit_button() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM audit_write(r.installation_id, CASE TG_OP WHEN 'INSERT' THEN 'button_issued' ELSE 'button_pressed' END,
        jsonb_build_object('repository', r.owner || '/' || r.name, 'pull_request', c.number, 'run', NEW.run_id,
        'check', NEW.check_name, 'command', NEW.command, 'commit', NEW.head,
        'button', encode(sha256(convert_to(NEW.nonce, 'UTF8')), 'hex'), 'until', NEW.expires_at,
        'actor', NEW.used_by, 'delivery', NEW.used_delivery))
    FROM run JOIN change c ON c.id = run.change_id JOIN repository r ON r.id = c.repository_id WHERE run.id = NEW.run_id;
    RETURN NULL;
END $$;
CREATE TRIGGER button_audited AFTER INSERT ON button FOR EACH ROW EXECUTE FUNCTION audit_button();
CREATE TRIGGER button_press_audited AFTER UPDATE ON button FOR EACH ROW
    WHEN (NEW.used_at IS DISTINCT FROM OLD.used_at OR NEW.used_by IS DISTINCT FROM OLD.used_by)
    EXECUTE FUNCTION audit_button();

CREATE FUNCTION audit_lock_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM audit_write(r.installation_id, 'lock_kept', jsonb_build_object(
        'repository', r.owner || '/' || r.name, 'project', p.name, 'environment', NEW.environment,
        'pull_request', c.number, 'taken_by', NEW.taken_by, 'held_for', NEW.held_for, 'reason', NEW.reason,
        'until', NEW.expires_at))
    FROM project p JOIN repository r ON r.id = p.repository_id JOIN change c ON c.id = NEW.change_id
    WHERE p.id = NEW.project_id;
    RETURN NULL;
END $$;
CREATE TRIGGER environment_lock_kept_audited AFTER UPDATE ON environment_lock FOR EACH ROW
    WHEN (NEW.change_id IS DISTINCT FROM OLD.change_id OR NEW.held_for IS DISTINCT FROM OLD.held_for
          OR NEW.expires_at IS DISTINCT FROM OLD.expires_at)
    EXECUTE FUNCTION audit_lock_kept();

CREATE FUNCTION audit_receipt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM audit_of_run(NEW.run_id, 'receipt', jsonb_build_object('sha256', NEW.sha256));
    RETURN NULL;
END $$;
CREATE TRIGGER path_receipt_audited AFTER INSERT OR UPDATE ON path_receipt
    FOR EACH ROW EXECUTE FUNCTION audit_receipt();
