-- +goose Up
-- Times are milliseconds since 1970, UTC. Columns that end in _f hold folded
-- text (user.Fold), so that SQL compares exactly as the matcher does.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- What each key of the key ring computes for a fixed text: another key under
-- the same name, or a ring without it, is noticed before anything is done.
CREATE TABLE key_checks (
    key_id      TEXT PRIMARY KEY,
    check_value BLOB NOT NULL
);

CREATE TABLE users (
    id               INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again: items and history name it
    user_id          TEXT NOT NULL,
    user_id_f        TEXT UNIQUE,                       -- NULL only within a transaction that swaps ids
    first_name       TEXT NOT NULL,
    first_name_f     TEXT NOT NULL,
    middle_name      TEXT NOT NULL,
    middle_name_f    TEXT NOT NULL,
    last_name        TEXT NOT NULL,
    last_name_f      TEXT NOT NULL,
    manager          TEXT NOT NULL,                     -- the manager's user id
    manager_f        TEXT NOT NULL,
    department       TEXT NOT NULL,                     -- JSON array, as written
    department_f     TEXT NOT NULL,                     -- each folded value behind a newline, and a newline; '' for none
    departments      INTEGER NOT NULL,                  -- how many
    mail             TEXT NOT NULL,
    mail_f           TEXT NOT NULL,
    telephone        TEXT NOT NULL,
    telephone_f      TEXT NOT NULL,
    language         TEXT NOT NULL,
    status           TEXT NOT NULL,
    inactive_reason  TEXT NOT NULL DEFAULT '',
    agreement        TEXT NOT NULL DEFAULT '',          -- '' for a local user
    entry_key        TEXT,                              -- the directory's immutable id; NULL for a local user
    dn               TEXT NOT NULL DEFAULT '',
    dn_norm          TEXT,                              -- normalized for comparing; NULL for a local user
    manager_dn       TEXT,                              -- the normalized DN that the entry names; NULL for none
    manager_dirty    BOOLEAN NOT NULL DEFAULT FALSE,    -- the manager has to be found again
    content_hash     INTEGER NOT NULL DEFAULT 0,        -- of the entry, 64 bits; 0: to be looked at again
    absent_ms        INTEGER NOT NULL DEFAULT 0,        -- observed time of absence
    changed_at       INTEGER NOT NULL
);
CREATE INDEX users_first_name  ON users (first_name_f);
CREATE INDEX users_last_name   ON users (last_name_f);
CREATE INDEX users_manager     ON users (manager_f);
CREATE INDEX users_department  ON users (department_f);
CREATE INDEX users_departments ON users (department_f) WHERE departments > 1;
CREATE INDEX users_middle_name ON users (middle_name_f) WHERE middle_name_f <> '';
CREATE UNIQUE INDEX users_key  ON users (entry_key) WHERE entry_key IS NOT NULL;
CREATE INDEX users_dn          ON users (dn_norm) WHERE dn_norm IS NOT NULL;
CREATE INDEX users_manager_dn  ON users (manager_dn) WHERE manager_dn IS NOT NULL;
CREATE INDEX users_dirty       ON users (id) WHERE manager_dirty;

-- What is known of each directory (roster.Agreement).
CREATE TABLE agreements (
    name          TEXT PRIMARY KEY,
    seq           INTEGER NOT NULL DEFAULT 0,
    kind          TEXT NOT NULL DEFAULT '',
    key_attribute TEXT NOT NULL DEFAULT '',
    directory     TEXT NOT NULL DEFAULT '',
    seed          INTEGER NOT NULL DEFAULT 0,
    scope_fp      TEXT NOT NULL DEFAULT '',
    map_fp        TEXT NOT NULL DEFAULT '',
    server        TEXT NOT NULL DEFAULT '',
    completed_at  INTEGER NOT NULL DEFAULT 0
);

-- Losses that wait for the guard, and those that were applied (roster.Loss).
CREATE TABLE pending (
    agreement TEXT NOT NULL,
    entry_key TEXT NOT NULL,
    kind      TEXT NOT NULL,
    field     TEXT NOT NULL,
    user_id   TEXT NOT NULL,
    dn        TEXT NOT NULL,
    value     TEXT NOT NULL,
    evidence  TEXT NOT NULL,
    server    TEXT NOT NULL,
    since     INTEGER NOT NULL,
    hash      INTEGER NOT NULL,
    PRIMARY KEY (agreement, entry_key, kind, field)
) WITHOUT ROWID;

CREATE TABLE applied (
    agreement TEXT NOT NULL,
    at        INTEGER NOT NULL,
    entry_key TEXT NOT NULL,
    kind      TEXT NOT NULL,
    field     TEXT NOT NULL,
    user_id   TEXT NOT NULL,
    dn        TEXT NOT NULL,
    value     TEXT NOT NULL,
    evidence  TEXT NOT NULL,
    server    TEXT NOT NULL,
    accepted  BOOLEAN NOT NULL
);
CREATE INDEX applied_at ON applied (agreement, at);

-- Entries that cannot be users as they stand (roster.Reject).
CREATE TABLE rejects (
    agreement TEXT NOT NULL,
    entry_key TEXT NOT NULL,
    dn        TEXT NOT NULL,
    user_id   TEXT NOT NULL,
    reason    TEXT NOT NULL,
    detail    TEXT NOT NULL,
    partial   BOOLEAN NOT NULL,
    person    TEXT NOT NULL,                 -- as mapped, JSON
    since     INTEGER NOT NULL,
    PRIMARY KEY (agreement, entry_key)
) WITHOUT ROWID;

-- Keys that were detached from their users and are to be left alone.
CREATE TABLE exclusions (
    agreement TEXT NOT NULL,
    entry_key TEXT NOT NULL,
    PRIMARY KEY (agreement, entry_key)
) WITHOUT ROWID;

CREATE TABLE credentials (
    user_ref        INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind            TEXT NOT NULL,               -- pin, password
    hash            TEXT NOT NULL DEFAULT '',    -- '' : none was ever set
    changed_at      INTEGER NOT NULL DEFAULT 0,
    must_change     BOOLEAN NOT NULL DEFAULT FALSE,
    cannot_change   BOOLEAN NOT NULL DEFAULT FALSE,
    does_not_expire BOOLEAN NOT NULL DEFAULT FALSE,
    locked          BOOLEAN NOT NULL DEFAULT FALSE, -- by an administrator
    attempts        INTEGER NOT NULL DEFAULT 0,  -- wrong ones in a row
    attempts_since  INTEGER NOT NULL DEFAULT 0,  -- when the first of them was
    locked_until    INTEGER NOT NULL DEFAULT 0,  -- by wrong attempts
    job             INTEGER NOT NULL DEFAULT 0,  -- the last job that changed it
    version         INTEGER NOT NULL DEFAULT 0,  -- every write is conditional on it
    PRIMARY KEY (user_ref, kind)
) WITHOUT ROWID;

-- Former values as keyed tags, newest highest.
CREATE TABLE history (
    user_ref INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind     TEXT NOT NULL,
    version  INTEGER NOT NULL,
    tag      BLOB NOT NULL,
    PRIMARY KEY (user_ref, kind, version)
) WITHOUT ROWID;

-- The work list: users whom a job flagged.
CREATE TABLE flags (
    user_ref INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    job      INTEGER NOT NULL,
    code     TEXT NOT NULL,
    at       INTEGER NOT NULL
);

CREATE TABLE jobs (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    name           TEXT NOT NULL,
    folder         TEXT NOT NULL DEFAULT '',  -- the watch folder; '' for the command line
    file           TEXT NOT NULL DEFAULT '',  -- where the job file was
    file_id        TEXT NOT NULL DEFAULT '',  -- the file's own id
    fingerprint    BLOB NOT NULL,             -- keyed hash of the job file and its lists
    definition     TEXT NOT NULL,             -- the job without its secrets, JSON
    submitter      TEXT NOT NULL,
    state          TEXT NOT NULL,             -- scheduled held queued running paused done incomplete stopped cancelled superseded failed
    reason         TEXT NOT NULL DEFAULT '',  -- why it is held, paused, stopped or failed
    stage          TEXT NOT NULL,             -- opening: items are being written; open: they are all there; closed: the report is
    held_count     INTEGER NOT NULL DEFAULT 0, -- what the guard that holds the job counted
    released       TEXT NOT NULL DEFAULT '',  -- JSON: the guards that were released, and their counts
    created        INTEGER NOT NULL,
    started        INTEGER NOT NULL DEFAULT 0,
    ended          INTEGER NOT NULL DEFAULT 0,
    selected       INTEGER NOT NULL DEFAULT 0,
    updated        INTEGER NOT NULL DEFAULT 0,
    skipped        INTEGER NOT NULL DEFAULT 0,
    flagged        INTEGER NOT NULL DEFAULT 0,
    failed         INTEGER NOT NULL DEFAULT 0,
    not_run        INTEGER NOT NULL DEFAULT 0,
    uncertain      INTEGER NOT NULL DEFAULT 0,
    failures       INTEGER NOT NULL DEFAULT 0, -- those that count towards max_failures
    job_key        BLOB,                      -- the key of all values of the job, sealed; NULL: erased
    pin            BLOB,                      -- a given value, sealed under the job key
    password       BLOB,
    report         TEXT NOT NULL DEFAULT '',  -- the folder of the report
    owner          TEXT NOT NULL DEFAULT ''   -- the process that opens, runs or closes it; '': none
);
CREATE INDEX jobs_fingerprint ON jobs (fingerprint);
CREATE INDEX jobs_state ON jobs (state);
CREATE INDEX jobs_owner ON jobs (owner) WHERE owner <> '';

-- Lists as they were read when the job was accepted, sealed under the job key.
CREATE TABLE job_lists (
    job     INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    name    TEXT NOT NULL,
    content BLOB,
    PRIMARY KEY (job, name)
) WITHOUT ROWID;

CREATE TABLE job_log (
    job  INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    n    INTEGER NOT NULL,
    at   INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (job, n)
) WITHOUT ROWID;

-- One user's part of a job. A final item has exactly one result and one code.
CREATE TABLE items (
    job      INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    seq      INTEGER NOT NULL,              -- 1, 2, 3 … within the job
    user_ref INTEGER,                       -- NULL: names nobody here
    user_id  TEXT NOT NULL,                 -- as it was when the job opened, or as written
    line     INTEGER NOT NULL DEFAULT 0,    -- of the list that named the user
    state    TEXT NOT NULL,                 -- pending, pushing, final
    result   TEXT NOT NULL DEFAULT '',
    code     TEXT NOT NULL DEFAULT '',
    detail   TEXT NOT NULL DEFAULT '',
    status   TEXT NOT NULL DEFAULT '',      -- the user's, when the item ended
    at       INTEGER NOT NULL DEFAULT 0,    -- when it ended
    PRIMARY KEY (job, seq)
) WITHOUT ROWID;

-- One credential of an item at one system.
CREATE TABLE legs (
    job        INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    state      TEXT NOT NULL,
    result     TEXT NOT NULL DEFAULT '',
    code       TEXT NOT NULL DEFAULT '',
    value      BLOB,                        -- drawn or from a csv, sealed under the job key; NULL: the job's
    request_id TEXT NOT NULL DEFAULT '',    -- random, drawn when first journalled, never changed
    system     TEXT NOT NULL DEFAULT '',
    body       BLOB,                        -- the exact request, sealed under the job key
    attempts   INTEGER NOT NULL DEFAULT 0,
    lost       INTEGER NOT NULL DEFAULT 0,  -- attempts whose answer was lost
    first_at   INTEGER NOT NULL DEFAULT 0,  -- when it was first journalled
    PRIMARY KEY (job, seq, kind)
) WITHOUT ROWID;

-- The claim on a user: one item of a user is in flight, across jobs and nodes.
CREATE TABLE in_flight (
    user_ref INTEGER PRIMARY KEY,
    job      INTEGER NOT NULL,
    seq      INTEGER NOT NULL
);

-- Who works on which items. Every write of a run checks owner and epoch.
CREATE TABLE batches (
    job       INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    n         INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    state     TEXT NOT NULL,                -- open, done
    owner     TEXT NOT NULL DEFAULT '',
    epoch     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job, n)
) WITHOUT ROWID;
CREATE INDEX batches_owner ON batches (owner) WHERE owner <> '';

-- +goose Down
DROP TABLE batches; DROP TABLE in_flight; DROP TABLE legs; DROP TABLE items;
DROP TABLE job_log; DROP TABLE job_lists; DROP TABLE jobs; DROP TABLE flags;
DROP TABLE history; DROP TABLE credentials; DROP TABLE users;
DROP TABLE exclusions; DROP TABLE rejects; DROP TABLE applied; DROP TABLE pending; DROP TABLE agreements;
DROP TABLE key_checks; DROP TABLE meta;
