-- What titan/paths judged, kept as it was written: `body` is the receipt byte for byte, `sha256` is its hash.
CREATE TABLE path_receipt (
    run_id     UUID PRIMARY KEY CONSTRAINT path_receipt_run_exists REFERENCES run (id),
    sha256     TEXT NOT NULL CONSTRAINT path_receipt_sha256_whole CHECK (length(sha256) = 64),
    body       TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
