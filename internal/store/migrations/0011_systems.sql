-- +goose Up
-- What became of a PIN at each voicemail system of a user who has several
-- (voicemail_mode). A leg at one system has no rows here.
CREATE TABLE parts (
    job        INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    system     TEXT NOT NULL,
    n          INTEGER NOT NULL,             -- its place in the configuration
    state      TEXT NOT NULL,                -- pending: taken along by a retry, to be sent again; final
    result     TEXT NOT NULL DEFAULT '',
    code       TEXT NOT NULL DEFAULT '',     -- '': it was not asked
    detail     TEXT NOT NULL DEFAULT '',
    request_id TEXT NOT NULL DEFAULT '',
    body       BLOB,                         -- the exact request, sealed under the job's key; kept where an answer was lost
    note       TEXT NOT NULL DEFAULT '',
    attempts   INTEGER NOT NULL DEFAULT 0,
    lost       INTEGER NOT NULL DEFAULT 0,   -- attempts whose answer was lost
    PRIMARY KEY (job, seq, system)
) WITHOUT ROWID;

-- The last request to a user at a system, where one to another system has
-- taken its place in the journal since.
CREATE TABLE sent_before (
    user_ref   INTEGER NOT NULL,
    system     TEXT NOT NULL,
    job        INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    request_id TEXT NOT NULL,
    until      INTEGER NOT NULL,             -- no request of another item of this user may be sent before
    PRIMARY KEY (user_ref, system)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE sent_before;
DROP TABLE parts;
