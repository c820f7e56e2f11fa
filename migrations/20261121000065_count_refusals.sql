-- How often in a row GitHub refused what a job asked for. Tries that were cut short or got no answer say nothing about that, so
-- they must not use up the few tries that a refusal has. The previous release counts tries of every kind.
ALTER TABLE job ADD COLUMN refusals INT NOT NULL DEFAULT 0;
