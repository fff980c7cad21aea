-- Sessions end as a whole, and a user can log out all sessions but one.

-- Two more kinds. An `others` entry covers a user's tokens that were issued up to its cutoff, except those of the one session
-- (or the one token) that the `spared` entry with the same cutoff names; that entry covers nothing by itself. Every row is of
-- one of the kinds that were allowed before, so none needs to be looked at.
ALTER TABLE revocations DROP CONSTRAINT revocations_kind_check;
ALTER TABLE revocations ADD CONSTRAINT revocations_kind_check
    CHECK (kind IN ('token', 'jti', 'session', 'subject', 'others', 'spared')) NOT VALID;

-- Which rows belong to a session.
CREATE INDEX user_token_logs_by_session ON user_token_logs (session_id, issuer) WHERE session_id IS NOT NULL;

-- The rules by which sessions have become keys are kept as those of users are: with another session claim, the logout of a
-- session would reach no token of it. For a session, `user_claim` is the claim that names it, and `issued_at_claim` is ''.
ALTER TABLE subject_keyspaces ADD COLUMN kind text COLLATE "C" NOT NULL DEFAULT 'subject'
    CHECK (kind IN ('subject', 'session'));
