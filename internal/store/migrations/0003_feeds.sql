-- +goose Up
-- What is known of an agreement's feeds (roster.Agreement).
ALTER TABLE agreements ADD COLUMN full_at      INTEGER NOT NULL DEFAULT 0; -- when the last full answer ended
ALTER TABLE agreements ADD COLUMN full_took_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE agreements ADD COLUMN context      TEXT    NOT NULL DEFAULT ''; -- OpenLDAP's contextCSN as last seen
ALTER TABLE agreements ADD COLUMN server_at    INTEGER NOT NULL DEFAULT 0; -- when the last answers began to be another server's
ALTER TABLE agreements ADD COLUMN behind_since INTEGER NOT NULL DEFAULT 0; -- no server has what we have
ALTER TABLE agreements ADD COLUMN refused_at   INTEGER NOT NULL DEFAULT 0; -- a cookie was refused
ALTER TABLE agreements ADD COLUMN full_until   INTEGER NOT NULL DEFAULT 0; -- cookies are not even tried
ALTER TABLE agreements ADD COLUMN paging       TEXT    NOT NULL DEFAULT ''; -- whether everything at once was taken, or cut
ALTER TABLE agreements ADD COLUMN feed         TEXT    NOT NULL DEFAULT ''; -- that gave the last complete answer

-- Where incremental feeds go on (roster.Mark).
CREATE TABLE marks (
    agreement TEXT NOT NULL,
    feed      TEXT NOT NULL,
    provider  TEXT NOT NULL, -- the server that it is good for; '' for every server
    cookie    BLOB NOT NULL,
    scope_fp  TEXT NOT NULL,
    map_fp    TEXT NOT NULL,
    taken_at  INTEGER NOT NULL,
    checksum  INTEGER NOT NULL,
    PRIMARY KEY (agreement, feed, provider)
) WITHOUT ROWID;

-- The entries below which people are: nobody below one that moves is reported.
CREATE TABLE containers (
    agreement TEXT NOT NULL,
    entry_key TEXT NOT NULL,
    dn_norm   TEXT NOT NULL,
    PRIMARY KEY (agreement, entry_key)
) WITHOUT ROWID;

-- Who synchronizes an agreement, or reads the whole of a server.
CREATE TABLE leases (
    name       TEXT PRIMARY KEY,
    holder     TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;

-- What others ask of the holder of an agreement's lease (roster.Order).
CREATE TABLE orders (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    agreement TEXT NOT NULL,
    at        INTEGER NOT NULL,
    request   TEXT NOT NULL,            -- JSON
    holder    TEXT NOT NULL DEFAULT '', -- who carries it out; '': it waits
    answer    TEXT NOT NULL DEFAULT ''  -- JSON; '': it is not done
);
CREATE INDEX orders_waiting ON orders (agreement) WHERE holder = '';

-- Appending to it costs little: within a status the ids ascend.
CREATE INDEX users_agreement ON users (agreement, status);
CREATE INDEX users_absent    ON users (agreement) WHERE inactive_reason = 'absent';

-- +goose Down
DROP INDEX users_absent; DROP INDEX users_agreement;
DROP TABLE orders; DROP TABLE leases; DROP TABLE containers; DROP TABLE marks;
ALTER TABLE agreements DROP COLUMN feed; ALTER TABLE agreements DROP COLUMN paging;
ALTER TABLE agreements DROP COLUMN full_until; ALTER TABLE agreements DROP COLUMN refused_at;
ALTER TABLE agreements DROP COLUMN behind_since; ALTER TABLE agreements DROP COLUMN server_at; ALTER TABLE agreements DROP COLUMN context;
ALTER TABLE agreements DROP COLUMN full_took_ms; ALTER TABLE agreements DROP COLUMN full_at;
