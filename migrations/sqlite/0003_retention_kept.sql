-- For how long revocations are kept, so that a start whose settings ask for no more has nothing to look through.

-- Every control plane keeps what it writes for as long as this says, or longer if its own settings do.
CREATE TABLE retention_kept (
    -- There is exactly one row.
    id           INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    -- By how many seconds each entry of a user outlives its cutoff at least; 0 where nobody has looked yet.
    subject_life INTEGER NOT NULL,
    -- By how many seconds each entry of a token outlives the token at least; 0 likewise.
    token_rest   INTEGER NOT NULL
) STRICT;

INSERT INTO retention_kept (id, subject_life, token_rest) VALUES (1, 0, 0);
