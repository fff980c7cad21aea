-- The state behind logout: which tokens are known, what has been revoked, and how far that log reaches.
--
-- For MySQL 8 and MariaDB 10.6 alike. All times are seconds of Unix time. All 16-byte keys are computed by curfew-core;
-- no token text is stored. What identifies somebody or something is VARBINARY: text types, the binary collations
-- included, take 'a' and 'a ' for the same, and most take 'a' and 'A' for the same.
-- An applied migration is never edited: the checksum of this file is kept in every database it ran on.

-- One row per known token: registered at login, or inserted (already blocked) by a logout.
CREATE TABLE user_token_logs (
    -- Names the token without being the token: SHA-256 over what the issuer signed, truncated.
    token_id     BINARY(16)      NOT NULL PRIMARY KEY,
    -- The issuer namespace; '' for tokens of an issuer without a name. Users of two issuers are two users. As long as
    -- the configuration allows.
    issuer       VARBINARY(1024) NOT NULL,
    -- Whose sessions to list and to block; NULL for a token that names no user. As long as a claim may be.
    user_id      VARBINARY(256),
    -- The token's `sid`, so that a list of sessions can be matched with the issuer's own.
    session_id   VARBINARY(256),
    -- The token's `iat` (or the configured claim), for the list of sessions; NULL where it has none.
    issued_at    BIGINT,
    -- The token's `exp`: until then its revocation must be kept, and afterwards the row is purged.
    expires_at   BIGINT          NOT NULL,
    -- 1 once logged out. A row that is still 0 after a logout of all devices was registered after it, which
    -- settles the tokens issued in the very second of that logout.
    is_block     TINYINT         NOT NULL DEFAULT 0 CHECK (is_block IN (0, 1)),
    -- When it was logged out, for the people who look into an incident.
    blocked_at   BIGINT,
    -- Which call logged it out: logout, logout_all_device, lgt_all; already_revoked for a token that was
    -- dead when it was registered.
    block_reason VARCHAR(32)     CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    -- What the login reported about the device, so that its user recognises it in the list of sessions.
    user_agent   VARCHAR(512)    CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    -- The address the login reported, for the same list.
    ip           VARCHAR(64)     CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    -- When this database first saw the token.
    created_at   BIGINT          NOT NULL,
    -- When the row last changed.
    updated_at   BIGINT          NOT NULL,
    CHECK ((is_block = 0) = (blocked_at IS NULL)),
    -- Logout of all devices (one issuer's user) and the list of sessions (a user, of one issuer or of all).
    KEY user_token_logs_by_user (user_id, issuer),
    -- The purge.
    KEY user_token_logs_by_expiry (expires_at)
    -- The default engine may be one without transactions.
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- What has been revoked. One row per (kind, key): a later revocation takes the place of the earlier one under its
-- own, higher seq, so a reader that asks for everything after a seq still meets it, and repeated logouts of one user
-- do not pile up rows.
CREATE TABLE revocations (
    -- Its place in the order of commits, allotted from feed_head. Never from AUTO_INCREMENT: that commits out of order,
    -- and a reader that has passed a number does not look back.
    seq        BIGINT      NOT NULL,
    -- What is revoked: a token, jti, session or subject key.
    `key`      BINARY(16)  NOT NULL,
    -- Which of them the key is. Part of the identity, so a key is never taken for one of another kind.
    kind       VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL
               CHECK (kind IN ('token', 'jti', 'session', 'subject')),
    -- A subject entry covers tokens issued up to this second. The other kinds cover always, whatever stands here.
    cutoff     BIGINT      NOT NULL,
    -- When the last token it can cover is dead everywhere; the row is purged then and not before.
    expires_at BIGINT      NOT NULL,
    -- Which call made it: logout, logout_all_device, lgt_all.
    reason     VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    -- Who called: user (with the token itself) or app (with application credentials).
    actor      VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    -- When it was committed.
    created_at BIGINT      NOT NULL,
    -- The rows lie in this order, so a check is answered where it looks.
    PRIMARY KEY (`key`, kind),
    UNIQUE KEY revocations_by_seq (seq),
    -- The purge.
    KEY revocations_by_expiry (expires_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- How far the log of revocations reaches. Every transaction that writes locks this row first, which serialises them on
-- any database and makes seq gapless in commit order.
CREATE TABLE feed_head (
    -- There is exactly one row.
    id    TINYINT    NOT NULL PRIMARY KEY CHECK (id = 1),
    -- Names this history of the log: made anew whenever seq could mean something else than before.
    epoch BINARY(16) NOT NULL,
    -- The seq of the newest revocation; 0 before the first.
    seq   BIGINT     NOT NULL CHECK (seq >= 0)
) ENGINE = InnoDB;

-- Unlike any other; MariaDB 10.6 makes no random bytes.
INSERT INTO feed_head (id, epoch, seq) VALUES (1, UNHEX(REPLACE(UUID(), '-', '')), 0);
