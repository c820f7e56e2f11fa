-- How often a delivery came again after it was stored. Only adds, so the previous release works beside it.
ALTER TABLE delivery ADD COLUMN duplicates INTEGER NOT NULL DEFAULT 0;
