-- The state behind logout: which tokens are known, what has been revoked, and how far that log reaches.
--
-- All times are seconds of Unix time. All 16-byte keys are computed by curfew-core; no token text is stored. Texts
-- compare byte by byte, whatever the database's locale.
-- An applied migration is never edited: the checksum of this file is kept in every database it ran on.

-- One row per known token: registered at login, or inserted (already blocked) by a logout.
CREATE TABLE user_token_logs (
    -- Names the token without being the token: SHA-256 over what the issuer signed, truncated.
    token_id     bytea    NOT NULL CHECK (octet_length(token_id) = 16),
    -- The issuer namespace; '' for tokens of an issuer without a name. Users of two issuers are two users.
    issuer       text     COLLATE "C" NOT NULL,
    -- Whose sessions to list and to block; NULL for a token that names no user.
    user_id      text     COLLATE "C",
    -- The token's `sid`, so that a list of sessions can be matched with the issuer's own.
    session_id   text     COLLATE "C",
    -- The token's `iat` (or the configured claim), for the list of sessions; NULL where it has none.
    issued_at    bigint,
    -- The token's `exp`: until then its revocation must be kept, and afterwards the row is purged.
    expires_at   bigint   NOT NULL,
    -- 1 once logged out. A row that is still 0 after a logout of all devices was registered after it, which
    -- settles the tokens issued in the very second of that logout. A number, so that statements are the same on
    -- every database.
    is_block     smallint NOT NULL DEFAULT 0 CHECK (is_block IN (0, 1)),
    -- When it was logged out, for the people who look into an incident.
    blocked_at   bigint,
    -- Which call logged it out: logout, logout_all_device, lgt_all; already_revoked for a token that was
    -- dead when it was registered.
    block_reason text,
    -- What the login reported about the device, so that its user recognises it in the list of sessions.
    user_agent   text,
    -- The address the login reported, for the same list.
    ip           text,
    -- When this database first saw the token.
    created_at   bigint   NOT NULL,
    -- When the row last changed.
    updated_at   bigint   NOT NULL,
    -- A check asks for nothing but is_block: it is answered from the index alone.
    PRIMARY KEY (token_id) INCLUDE (is_block),
    CHECK ((is_block = 0) = (blocked_at IS NULL))
);

-- Logout of all devices (one issuer's user) and the list of sessions (a user, of one issuer or of all).
CREATE INDEX user_token_logs_by_user ON user_token_logs (user_id, issuer);
-- The purge.
CREATE INDEX user_token_logs_by_expiry ON user_token_logs (expires_at);

-- What has been revoked. One row per (kind, key): a later revocation takes the place of the earlier one under its
-- own, higher seq, so a reader that asks for everything after a seq still meets it, and repeated logouts of one user
-- do not pile up rows.
CREATE TABLE revocations (
    -- Its place in the order of commits, allotted from feed_head. Never from a database sequence: those commit out
    -- of order, and a reader that has passed a number does not look back.
    seq        bigint NOT NULL UNIQUE,
    -- What is revoked: a token, jti, session or subject key.
    "key"      bytea  NOT NULL CHECK (octet_length("key") = 16),
    -- Which of them the key is. Part of the identity, so a key is never taken for one of another kind.
    kind       text   COLLATE "C" NOT NULL CHECK (kind IN ('token', 'jti', 'session', 'subject')),
    -- A subject entry covers tokens issued up to this second. The other kinds cover always, whatever stands here.
    cutoff     bigint NOT NULL,
    -- When the last token it can cover is dead everywhere; the row is purged then and not before.
    expires_at bigint NOT NULL,
    -- Which call made it: logout, logout_all_device, lgt_all.
    reason     text   NOT NULL,
    -- Who called: user (with the token itself) or app (with application credentials).
    actor      text   NOT NULL,
    -- When it was committed.
    created_at bigint NOT NULL,
    -- With all that a check asks for, so that it is answered from the index alone.
    PRIMARY KEY ("key", kind) INCLUDE (cutoff)
);

-- The purge.
CREATE INDEX revocations_by_expiry ON revocations (expires_at);

-- How far the log of revocations reaches. Every transaction that writes locks this row first, which serialises them on
-- any database and makes seq gapless in commit order.
CREATE TABLE feed_head (
    -- There is exactly one row.
    id    smallint NOT NULL PRIMARY KEY CHECK (id = 1),
    -- Names this history of the log: made anew whenever seq could mean something else than before.
    epoch bytea    NOT NULL CHECK (octet_length(epoch) = 16),
    -- The seq of the newest revocation; 0 before the first.
    seq   bigint   NOT NULL CHECK (seq >= 0)
);

INSERT INTO feed_head (id, epoch, seq) VALUES (1, uuid_send(gen_random_uuid()), 0);
