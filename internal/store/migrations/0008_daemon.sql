-- +goose Up
-- The jobs that somebody has to work on, among the many that are done.
CREATE INDEX jobs_open ON jobs (id) WHERE stage <> 'closed';

-- How the last synchronizations of an agreement went, as the daemon saw them.
CREATE TABLE sync_states (
    agreement TEXT PRIMARY KEY,
    since     INTEGER NOT NULL,           -- when it began to be so
    failures  INTEGER NOT NULL DEFAULT 0, -- in a row
    error     TEXT NOT NULL DEFAULT ''    -- of the last one; '': it went well
);

-- +goose Down
DROP TABLE sync_states;
DROP INDEX jobs_open;
