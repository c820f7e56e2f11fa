-- The keys of jobs that a job waits for when they were queued before it. What stops deployments (`stop:`) overtakes the other
-- commands of its pull request (`pr:`), but never what lets deployments go on again (`free:`): else a halt would be lifted by
-- a resume that was given before it. All others keep their order. Written once here, because two queries ask it. Jobs of the
-- previous release have keys that wait for their own only.
CREATE FUNCTION job_waits_for(key TEXT) RETURNS TEXT[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN starts_with(key, 'pr:') THEN ARRAY[key, 'stop:' || substr(key, 4), 'free:' || substr(key, 4)]
        WHEN starts_with(key, 'free:') THEN ARRAY[key, 'stop:' || substr(key, 6), 'pr:' || substr(key, 6)]
        WHEN starts_with(key, 'stop:') THEN ARRAY[key, 'free:' || substr(key, 6)]
        ELSE ARRAY[key]
    END
$$;
