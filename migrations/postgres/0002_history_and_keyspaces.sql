-- Where the log's history is kept, and by which rules keys of users have been made.

-- What the server said of itself when the epoch was made: which cluster, on which timeline, and which table this is.
-- Where it says something else, it is another server or a restored copy, from which the latest revocations may be
-- missing, and the epoch changes. '' before the first look.
ALTER TABLE feed_head ADD COLUMN identity text NOT NULL DEFAULT '';

-- The rules by which logouts of all devices have become keys. With other rules the same user has other keys, and those
-- logouts would reach nobody; the next start refuses that while one of them is alive.
CREATE TABLE subject_keyspaces (
    -- Names the rule: a hash over the three columns that follow.
    name            bytea  NOT NULL PRIMARY KEY CHECK (octet_length(name) = 16),
    -- The issuer namespace; '' for an issuer without a name.
    issuer          text   COLLATE "C" NOT NULL,
    -- The claim that names the user.
    user_claim      text   COLLATE "C" NOT NULL,
    -- The claim that cutoffs are compared with.
    issued_at_claim text   COLLATE "C" NOT NULL,
    -- When the last logout of all devices that was made by this rule may be forgotten.
    live_until      bigint NOT NULL
);
