-- +goose Up
-- What the voicemail system said of the mailbox before anything was changed
-- there (voicemail.Note); '' for systems of which nothing is asked.
ALTER TABLE journal ADD COLUMN note TEXT NOT NULL DEFAULT '';
ALTER TABLE legs ADD COLUMN note TEXT NOT NULL DEFAULT ''; -- kept where an answer was lost

-- Where the mailboxes of users were found: the system's own ids, which save a
-- search. One is good for as long as the user has that user id.
CREATE TABLE mailboxes (
    system   TEXT NOT NULL,
    user_ref INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    user_id  TEXT NOT NULL,
    mailbox  TEXT NOT NULL,
    PRIMARY KEY (system, user_ref)
) WITHOUT ROWID;
CREATE INDEX mailboxes_user ON mailboxes (user_ref);

-- +goose Down
DROP TABLE mailboxes;
ALTER TABLE legs DROP COLUMN note;
ALTER TABLE journal DROP COLUMN note;
