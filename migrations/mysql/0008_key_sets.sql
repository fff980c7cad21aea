-- The keys that filters and control planes prove tokens with, where they do not stand in a configuration.

-- The newest change of any key set, as its place in the log; 0 before the first. Each reading of the log shows it, so a
-- filter knows whether its keys are as new as the revocations that it holds: a removed key revokes all that it signed.
ALTER TABLE feed_head ADD COLUMN keys_seq BIGINT NOT NULL DEFAULT 0 CHECK (keys_seq >= 0);

-- One row for each issuer whose public keys are known. An issuer without a row has no keys yet, or signs with a secret, which
-- stays in the control planes' configuration.
CREATE TABLE key_sets (
    -- Names the issuer: a hash over the next column, which may be longer than an index takes.
    issuer_id  BINARY(16) NOT NULL PRIMARY KEY,
    -- The issuer namespace; '' for an issuer without a name.
    issuer     VARBINARY(1024) NOT NULL,
    -- The place in the log of the change that made the set in force. No revocation has this place.
    seq        BIGINT NOT NULL CHECK (seq >= 0),
    -- The JWK Set in force, in one spelling, so that the same keys are the same text. A set without keys is a decision: no
    -- token of the issuer is proven. An empty text says that no keys are known any more, and what is held back is remembered. Bytes, whatever the database's character set is.
    jwks       MEDIUMBLOB NOT NULL,
    -- The JWK Set that the source gave last, in the same spelling. The set in force is this one without what operators hold
    -- back, so that what is let go comes back without another question to the source.
    listed     MEDIUMBLOB NOT NULL,
    -- JSON: the keys that operators removed or distrusted. A source that goes on listing them does not bring them back.
    holds      MEDIUMBLOB NOT NULL,
    -- Where the set came from, for operators.
    source     VARBINARY(1024) NOT NULL,
    -- When the set in force changed last, seconds of Unix time, for operators.
    changed_at BIGINT NOT NULL,
    -- When the source gave this list first, seconds of Unix time, for operators.
    listed_at  BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- When each issuer was asked for its keys, so that all control planes together ask seldom, and a failure is seen by operators
-- wherever they ask. All times are milliseconds of Unix time by the clock of the control plane that wrote them; none of them
-- decides what is in force.
CREATE TABLE key_fetches (
    -- Names the issuer, as in key_sets. A row may be older than the first set.
    issuer_id        BINARY(16) NOT NULL PRIMARY KEY,
    -- When the last question to the issuer began. It names the question: no two have the same.
    started_at_ms    BIGINT,
    -- When the last question for the sake of a token with an unknown key began. Tokens come from anybody, so these questions are
    -- rare; those that are due, or that operators want, do not count among them.
    demanded_at_ms   BIGINT,
    -- Until when the control plane that asks is waited for; NULL if none asks.
    claimed_until_ms BIGINT,
    -- When the last question ended, well or not.
    finished_at_ms   BIGINT,
    -- When the last good answer came: it gave a list, or said that the list is still the same.
    good_at_ms       BIGINT,
    -- When the next question is due.
    next_at_ms       BIGINT,
    -- The name that the issuer gave to its last list (RFC 9110 section 8.8.3), so that an unchanged one is not sent again.
    etag             VARBINARY(1024),
    -- For how many seconds the issuer said that its list is good.
    fresh_for        BIGINT,
    -- Failures since the last good answer, from which the next pause follows.
    failures         BIGINT NOT NULL,
    -- Why the last question failed, as a code; NULL after a good answer.
    error_code       VARBINARY(1024),
    -- The same, for people.
    error            VARBINARY(1024)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
