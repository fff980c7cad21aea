-- Sessions end as a whole, and a user can log out all sessions but one.

-- Two more kinds. An `others` entry covers a user's tokens that were issued up to its cutoff, except those of the one session
-- (or the one token) that the `spared` entry with the same cutoff names; that entry covers nothing by itself. SQLite cannot
-- change a table's checks, so the table is made anew.
CREATE TABLE revocations_of_more_kinds (
    -- Its place in the order of commits, allotted from feed_head. Never from a database sequence: those commit out
    -- of order, and a reader that has passed a number does not look back.
    seq        INTEGER NOT NULL UNIQUE,
    -- What is revoked: a token, jti, session or subject key; or what is spared.
    key        BLOB    NOT NULL CHECK (length(key) = 16),
    -- Which of them the key is. Part of the identity, so a key is never taken for one of another kind.
    kind       TEXT    NOT NULL CHECK (kind IN ('token', 'jti', 'session', 'subject', 'others', 'spared')),
    -- A subject or others entry covers tokens issued up to this second, and a spared entry belongs to the others entry with
    -- the same. The other kinds cover always, whatever stands here.
    cutoff     INTEGER NOT NULL,
    -- When the last token it can cover is dead everywhere; the row is purged then and not before.
    expires_at INTEGER NOT NULL,
    -- Which call made it: logout, logout_all_device, lgt_all and so on.
    reason     TEXT    NOT NULL,
    -- Who called: user (with the token itself) or app (with application credentials).
    actor      TEXT    NOT NULL,
    -- When it was committed.
    created_at INTEGER NOT NULL,
    PRIMARY KEY (key, kind)
) STRICT, WITHOUT ROWID;
INSERT INTO revocations_of_more_kinds (seq, key, kind, cutoff, expires_at, reason, actor, created_at)
    SELECT seq, key, kind, cutoff, expires_at, reason, actor, created_at FROM revocations;
DROP TABLE revocations;
ALTER TABLE revocations_of_more_kinds RENAME TO revocations;

-- The purge.
CREATE INDEX revocations_by_expiry ON revocations (expires_at);

-- Which rows belong to a session.
CREATE INDEX user_token_logs_by_session ON user_token_logs (session_id, issuer) WHERE session_id IS NOT NULL;

-- The rules by which sessions have become keys are kept as those of users are: with another session claim, the logout of a
-- session would reach no token of it. For a session, `user_claim` is the claim that names it, and `issued_at_claim` is ''.
ALTER TABLE subject_keyspaces ADD COLUMN kind TEXT NOT NULL DEFAULT 'subject' CHECK (kind IN ('subject', 'session'));
