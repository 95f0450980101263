-- +goose Up
-- For how long an owner may be silent, in milliseconds, before it is taken for
-- dead where no lock tells: its lease, and its longest push.
ALTER TABLE owners ADD COLUMN lasts INTEGER NOT NULL DEFAULT 30000;

-- What each installation that uses the database has in its marker, or is about
-- to have (package incarnation).
CREATE TABLE installations (
    id         TEXT PRIMARY KEY,
    generation INTEGER NOT NULL,
    seen       INTEGER NOT NULL
);

-- +goose Down
DROP TABLE installations;
ALTER TABLE owners DROP COLUMN lasts;
