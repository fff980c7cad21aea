-- What `curfew adopt` has taken over from the tables of other applications.

-- One row for each database from which a table user_token_logs has been adopted.
CREATE TABLE adoptions (
    -- Stands for the application's database in `adopted_rows`, which has a row for each of its rows.
    id          bigint NOT NULL PRIMARY KEY,
    -- Names that database by kind, address and name. It holds no user and no password.
    source      text   COLLATE "C" NOT NULL UNIQUE,
    -- When the first run began.
    started_at  bigint NOT NULL,
    -- When a run first ended with everything revoked that is blocked in that table; NULL before that.
    finished_at bigint
);

-- Which rows of those tables have been taken over, and which token each of them held. A run needs it to see what is
-- new, and to know a token whose text has been blanked. When an application's table is gone, its rows here may go, too.
CREATE TABLE adopted_rows (
    -- The adoption.
    adoption bigint NOT NULL,
    -- The application's id of the row.
    row_id   bigint NOT NULL,
    -- The token that the row held.
    token_id bytea  NOT NULL CHECK (octet_length(token_id) = 16),
    PRIMARY KEY (adoption, row_id)
);
