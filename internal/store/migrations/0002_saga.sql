-- +goose Up
-- The journal holds every leg that may have been sent and is not settled. Its
-- key is the claim: one item of a user is in flight at a time, whatever the
-- job. An item is `pushing` for as long as it has a row here with until = 0; no
-- other column says so.
CREATE TABLE journal (
    user_ref   INTEGER PRIMARY KEY,
    job        INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    request_id TEXT NOT NULL,               -- random, the same for every attempt of the leg
    system     TEXT NOT NULL,
    entry_key  TEXT NOT NULL,               -- the user's, when it was journalled
    body       BLOB,                        -- the exact request, sealed under the job's key
    attempts   INTEGER NOT NULL,
    lost       INTEGER NOT NULL,            -- attempts whose answer was lost
    first_at   INTEGER NOT NULL,            -- when the job first journalled it
    until      INTEGER NOT NULL DEFAULT 0   -- 0: in flight; else settled, and no other request of this user may be sent before
);
INSERT INTO journal (user_ref, job, seq, kind, request_id, system, entry_key, body, attempts, lost, first_at)
    SELECT f.user_ref, f.job, f.seq, l.kind, l.request_id, l.system, coalesce(u.entry_key, ''), l.body, l.attempts, l.lost, l.first_at
    FROM in_flight f JOIN legs l ON l.job = f.job AND l.seq = f.seq AND l.state = 'pushing'
    LEFT JOIN users u ON u.id = f.user_ref;
DROP TABLE in_flight;
CREATE VIEW in_flight AS SELECT user_ref, job, seq FROM journal WHERE until = 0;
UPDATE items SET state = 'pending' WHERE state = 'pushing';
UPDATE legs SET state = 'pending' WHERE state = 'pushing';

ALTER TABLE items ADD COLUMN retried_by INTEGER NOT NULL DEFAULT 0; -- the job that tries a failed item again
ALTER TABLE jobs ADD COLUMN retry_of INTEGER NOT NULL DEFAULT 0;    -- the job whose failed items this one tries again
ALTER TABLE jobs ADD COLUMN origin INTEGER NOT NULL DEFAULT 0;      -- the first of such a chain: a commit of a later job supersedes; 0: itself
ALTER TABLE jobs ADD COLUMN paused_at INTEGER NOT NULL DEFAULT 0;   -- since when it is paused
ALTER TABLE jobs ADD COLUMN held_at INTEGER NOT NULL DEFAULT 0;     -- since when it is held
UPDATE jobs SET held_at = created WHERE state = 'held';

-- Voicemail systems that denied us. Nothing is sent to one until its
-- configuration has another fingerprint or `dirpin doctor` passes.
CREATE TABLE latches (
    system      TEXT PRIMARY KEY,
    fingerprint BLOB NOT NULL,              -- keyed hash of its configuration and secret
    message     TEXT NOT NULL,
    since       INTEGER NOT NULL
);

-- The processes that work on jobs. Whether one lives is told by the lock that
-- it holds (resetjob.Owner); beat is for people and for other nodes.
CREATE TABLE owners (
    id      TEXT PRIMARY KEY,
    host    TEXT NOT NULL,
    pid     INTEGER NOT NULL,
    keys    TEXT NOT NULL,                  -- ids of the keys that it has, with commas
    started INTEGER NOT NULL,
    beat    INTEGER NOT NULL
);

-- +goose Down
DROP TABLE owners;
DROP TABLE latches;
DROP VIEW in_flight;
CREATE TABLE in_flight (user_ref INTEGER PRIMARY KEY, job INTEGER NOT NULL, seq INTEGER NOT NULL);
INSERT INTO in_flight (user_ref, job, seq) SELECT user_ref, job, seq FROM journal WHERE until = 0;
UPDATE items SET state = 'pushing' WHERE EXISTS (SELECT 1 FROM journal j WHERE j.until = 0 AND j.job = items.job AND j.seq = items.seq);
DROP TABLE journal;
