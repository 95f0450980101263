-- +goose Up
-- Beside which others a process pushes, as far as it has come to that (store.Sharer),
-- and a keyed hash of what jobs run with there: another node helps only with a
-- job that it would run no differently.
ALTER TABLE owners ADD COLUMN beside TEXT NOT NULL DEFAULT '';
ALTER TABLE owners ADD COLUMN works TEXT NOT NULL DEFAULT '';

-- Systems that the breaker of a process has paused.
CREATE TABLE pauses (
    system      TEXT NOT NULL,
    owner       TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    until       INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    PRIMARY KEY (system, owner)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE pauses;
ALTER TABLE owners DROP COLUMN works;
ALTER TABLE owners DROP COLUMN beside;
