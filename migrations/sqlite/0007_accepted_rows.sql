-- Blocked rows of the applications' tables of which an operator has accepted that nothing is revoked for them, because they
-- hold no token that could be. A later run tells only of rows that are not among them. When an application's table is gone,
-- its rows here may go, too.
CREATE TABLE accepted_rows (
    -- The adoption.
    adoption  INTEGER NOT NULL,
    -- The application's id of the row.
    row_id    INTEGER NOT NULL,
    -- A hash of the text that was accepted. Another text in the same row may be another token, and is told again. The
    -- text itself is not kept: it may be a token that only these settings do not accept.
    text_hash BLOB    NOT NULL CHECK (length(text_hash) = 16),
    PRIMARY KEY (adoption, row_id)
) STRICT, WITHOUT ROWID;
