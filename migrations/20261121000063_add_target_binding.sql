-- Which repository was the first to deploy to a service. Only adds, so the previous release works beside it.
CREATE TABLE target_binding (
    -- A Render service's id, or a deploy hook's name.
    target        TEXT PRIMARY KEY,
    repository_id BIGINT NOT NULL CONSTRAINT target_binding_repository_exists REFERENCES repository (id),
    bound_at      TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE FUNCTION audit_target() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM audit_write(r.installation_id, 'target_bound', jsonb_build_object(
        'repository', r.owner || '/' || r.name, 'target', NEW.target))
    FROM repository r WHERE r.id = NEW.repository_id;
    RETURN NULL;
END $$;
CREATE TRIGGER target_binding_audited AFTER INSERT OR UPDATE ON target_binding
    FOR EACH ROW EXECUTE FUNCTION audit_target();
