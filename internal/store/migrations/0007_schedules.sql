-- +goose Up
-- A job that waits for its time is `scheduled`, with due > 0 and fired = 0. A
-- schedule is a row of jobs, one behind another: each is the next run of the
-- last, made when that fires, and all have the number of the first as series.
ALTER TABLE jobs ADD COLUMN due INTEGER NOT NULL DEFAULT 0;         -- when it is to start; 0: at once
ALTER TABLE jobs ADD COLUMN fired INTEGER NOT NULL DEFAULT 0;       -- when it was found that its time has come
ALTER TABLE jobs ADD COLUMN series INTEGER NOT NULL DEFAULT 0;      -- the first job of its schedule; 0: it has none
ALTER TABLE jobs ADD COLUMN claim TEXT NOT NULL DEFAULT '';         -- the name that its file was claimed under in the watch folder
ALTER TABLE jobs ADD COLUMN told BOOLEAN NOT NULL DEFAULT FALSE;    -- the last line of its status file is written
-- No time of a schedule runs twice, and no file that was dropped.
CREATE UNIQUE INDEX jobs_series ON jobs (series, due) WHERE series <> 0;
CREATE UNIQUE INDEX jobs_claim ON jobs (folder, claim) WHERE claim <> '';
CREATE INDEX jobs_untold ON jobs (folder) WHERE folder <> '' AND NOT told;

-- +goose Down
DROP INDEX jobs_untold; DROP INDEX jobs_claim; DROP INDEX jobs_series;
ALTER TABLE jobs DROP COLUMN told;
ALTER TABLE jobs DROP COLUMN claim;
ALTER TABLE jobs DROP COLUMN series;
ALTER TABLE jobs DROP COLUMN fired;
ALTER TABLE jobs DROP COLUMN due;
