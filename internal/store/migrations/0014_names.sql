-- +goose Up
-- No query uses an index of middle names that has a condition: of a value that
-- is yet to come SQLite cannot know that it is not empty. Behind the first
-- names they are read in a tenth of the table, and cost a new user nothing.
DROP INDEX users_middle_name;
DROP INDEX users_first_name;
CREATE INDEX users_first_name ON users (first_name_f, middle_name_f);

-- +goose Down
DROP INDEX users_first_name;
CREATE INDEX users_first_name  ON users (first_name_f);
CREATE INDEX users_middle_name ON users (middle_name_f) WHERE middle_name_f <> '';
