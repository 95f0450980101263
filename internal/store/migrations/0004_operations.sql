-- +goose Up
-- When the account ends by the directory's word, in milliseconds; 0: never.
ALTER TABLE users ADD COLUMN expires_at INTEGER NOT NULL DEFAULT 0;
-- The entry_key of the manager, as manager_dn named it when it was found. In
-- Active Directory the link outlives a rename of the manager, which nothing
-- tells the subordinates' entries.
ALTER TABLE users ADD COLUMN manager_key TEXT;
-- The user that was detached from the key; 0: none.
ALTER TABLE exclusions ADD COLUMN user_ref INTEGER NOT NULL DEFAULT 0;
CREATE INDEX users_expires ON users (agreement, expires_at) WHERE expires_at > 0;
CREATE INDEX users_manager_key ON users (manager_key) WHERE manager_key IS NOT NULL;

-- +goose Down
ALTER TABLE exclusions DROP COLUMN user_ref;
DROP INDEX users_manager_key; DROP INDEX users_expires;
ALTER TABLE users DROP COLUMN manager_key;
ALTER TABLE users DROP COLUMN expires_at;
