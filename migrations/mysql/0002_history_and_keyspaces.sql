-- Where the log's history is kept, and by which rules keys of users have been made.

-- The rules by which logouts of all devices have become keys. With other rules the same user has other keys, and those
-- logouts would reach nobody; the next start refuses that while one of them is alive.
CREATE TABLE subject_keyspaces (
    -- Names the rule: a hash over the three columns that follow.
    name            BINARY(16)      NOT NULL PRIMARY KEY,
    -- The issuer namespace; '' for an issuer without a name.
    issuer          VARBINARY(1024) NOT NULL,
    -- The claim that names the user.
    user_claim      VARBINARY(1024) NOT NULL,
    -- The claim that cutoffs are compared with.
    issued_at_claim VARBINARY(64)   NOT NULL,
    -- When the last logout of all devices that was made by this rule may be forgotten.
    live_until      BIGINT          NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- What the server said of itself when the epoch was made: which server, and when this table was made. Where it says
-- something else, it is another server or a restored copy, from which the latest revocations may be missing, and the
-- epoch changes. '' before the first look.
ALTER TABLE feed_head ADD COLUMN identity VARBINARY(1024) NOT NULL DEFAULT '';
