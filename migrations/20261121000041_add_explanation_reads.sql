-- How often GitHub was read only because somebody asked over the API: those who ask need no sign-in, so it is bounded
-- for each installation. Rows older than an hour are removed. Only adds, so the previous release works beside it.
CREATE TABLE explanation_read (
    id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    installation_id BIGINT NOT NULL,
    asked_at        TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX explanation_read_recent ON explanation_read (installation_id, asked_at);
