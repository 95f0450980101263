-- +goose Up
-- As in SQLite's.
ALTER TABLE owners ADD COLUMN lasts BIGINT NOT NULL DEFAULT 30000;
CREATE TABLE installations (
    id         TEXT COLLATE "C" PRIMARY KEY,
    generation BIGINT NOT NULL,
    seen       BIGINT NOT NULL
);

-- An index takes 2,700 bytes of a row. DNs may be longer, and are only looked
-- up whole; so may the departments of somebody who has many.
DROP INDEX users_dn;
CREATE INDEX users_dn ON users USING hash (dn_norm) WHERE dn_norm IS NOT NULL;
DROP INDEX users_manager_dn;
CREATE INDEX users_manager_dn ON users USING hash (manager_dn) WHERE manager_dn IS NOT NULL;
DROP INDEX users_department;
CREATE INDEX users_department ON users (left(department_f, 512));
DROP INDEX users_departments;
CREATE INDEX users_departments ON users (id) WHERE departments > 1;

-- +goose Down
DROP INDEX users_departments;
CREATE INDEX users_departments ON users (department_f) WHERE departments > 1;
DROP INDEX users_department;
CREATE INDEX users_department ON users (department_f);
DROP INDEX users_manager_dn;
CREATE INDEX users_manager_dn ON users (manager_dn) WHERE manager_dn IS NOT NULL;
DROP INDEX users_dn;
CREATE INDEX users_dn ON users (dn_norm) WHERE dn_norm IS NOT NULL;
DROP TABLE installations;
ALTER TABLE owners DROP COLUMN lasts;
