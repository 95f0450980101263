-- +goose Up
-- What is to be sent to people and their programs, one row a message, from
-- the end of its job on. Values are not in it: they are read from the legs when
-- it is sent.
CREATE TABLE messages (
    job        INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    seq        INTEGER NOT NULL,             -- of the item whose values it has; below 0: tells of the job's end
    kind       TEXT NOT NULL,                -- value, notice (a mail), webhook
    message_id TEXT NOT NULL,                -- the same at every attempt
    recipient  TEXT NOT NULL,                -- of a notice; of a value: whom it was tried for last
    state      TEXT NOT NULL,                -- waiting, sent, refused, obsolete
    error      TEXT NOT NULL DEFAULT '',     -- why it is not sent
    attempts   INTEGER NOT NULL DEFAULT 0,
    next_at    INTEGER NOT NULL,             -- of one that waits: not before
    at         INTEGER NOT NULL DEFAULT 0,   -- of the last attempt
    PRIMARY KEY (job, seq)
) WITHOUT ROWID;
CREATE INDEX messages_waiting ON messages (next_at, job) WHERE state = 'waiting';

-- secrets.csv.age as it was made, once, in parts.
CREATE TABLE sealed_parts (
    job     INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    n       INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (job, n)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE sealed_parts;
DROP TABLE messages;
