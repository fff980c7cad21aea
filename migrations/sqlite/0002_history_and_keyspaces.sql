-- Where the log's history is kept, and by which rules keys of users have been made.

-- What the file said of itself when the epoch was made: its inode and when it was made. Where the file is another one,
-- it is a copy: what was revoked since that was taken is missing, and the epoch changes. '' before the first look.
ALTER TABLE feed_head ADD COLUMN identity TEXT NOT NULL DEFAULT '';

-- The rules by which logouts of all devices have become keys. With other rules the same user has other keys, and those
-- logouts would reach nobody; the next start refuses that while one of them is alive.
CREATE TABLE subject_keyspaces (
    -- Names the rule: a hash over the three columns that follow.
    name            BLOB    NOT NULL PRIMARY KEY CHECK (length(name) = 16),
    -- The issuer namespace; '' for an issuer without a name.
    issuer          TEXT    NOT NULL,
    -- The claim that names the user.
    user_claim      TEXT    NOT NULL,
    -- The claim that cutoffs are compared with.
    issued_at_claim TEXT    NOT NULL,
    -- When the last logout of all devices that was made by this rule may be forgotten.
    live_until      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
