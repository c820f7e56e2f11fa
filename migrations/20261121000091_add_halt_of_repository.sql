-- A halt holds where it was called, and for the whole account when it was called in a repository that Titan had deployed
-- something for. It is lifted where it was called. A halt of the previous release stands in `installation`, is still obeyed, and is
-- lifted by any repository of the account. Only adds; while replicas of the previous release run beside, they do not see
-- a halt that this one took.
ALTER TABLE repository ADD COLUMN halted_at TIMESTAMPTZ;
ALTER TABLE repository ADD COLUMN halted_by TEXT;
ALTER TABLE repository ADD COLUMN halt_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE repository ADD COLUMN halts_account BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE repository ADD CONSTRAINT repository_halt_whole CHECK ((halted_at IS NULL) = (halted_by IS NULL));

CREATE FUNCTION audit_repository_halt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM audit_write(NEW.installation_id, CASE WHEN NEW.halted_at IS NULL THEN 'resumed' ELSE 'halted' END,
        jsonb_build_object('repository', NEW.owner || '/' || NEW.name, 'actor', NEW.halted_by, 'reason', NEW.halt_reason,
            'account', NEW.halts_account));
    RETURN NULL;
END $$;
CREATE TRIGGER repository_halt_audited AFTER UPDATE ON repository FOR EACH ROW
    WHEN (NEW.halted_at IS DISTINCT FROM OLD.halted_at) EXECUTE FUNCTION audit_repository_halt();
