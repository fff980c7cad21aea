-- Sessions end as a whole, and a user can log out all sessions but one.

-- Two more kinds. An `others` entry covers a user's tokens that were issued up to its cutoff, except those of the one session
-- (or the one token) that the `spared` entry with the same cutoff names; that entry covers nothing by itself. MariaDB keeps a
-- column's check with the column, and MySQL keeps it by a name of its own.
ALTER TABLE revocations /*!80016 DROP CHECK revocations_chk_1, */
    MODIFY kind VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    ADD CONSTRAINT revocations_kind CHECK (kind IN ('token', 'jti', 'session', 'subject', 'others', 'spared'));

-- Which rows belong to a session.
CREATE INDEX user_token_logs_by_session ON user_token_logs (session_id, issuer);

-- The rules by which sessions have become keys are kept as those of users are: with another session claim, the logout of a
-- session would reach no token of it. For a session, `user_claim` is the claim that names it, and `issued_at_claim` is ''.
ALTER TABLE subject_keyspaces ADD COLUMN kind VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT 'subject'
    CHECK (kind IN ('subject', 'session'));
