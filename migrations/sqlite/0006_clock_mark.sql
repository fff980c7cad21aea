-- The newest time that was certain, so that a control plane whose clock is wrong at its start purges nothing that is alive.

-- A wall clock that is wrong when a process starts cannot be told from one that is right. So the purge counts on from this
-- mark by a clock that cannot be set, and never goes by the wall clock alone. And a wall clock that is behind the mark dates
-- no logout of all devices.
CREATE TABLE clock_mark (
    -- There is exactly one row.
    id        INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    -- Seconds of Unix time, by the clock that was furthest behind when a purge ran; NULL before the first start.
    marked_at INTEGER,
    -- How often an operator has set the mark. Control planes that run go back to an earlier mark only if this has changed.
    accepted  INTEGER NOT NULL
) STRICT;

INSERT INTO clock_mark (id, marked_at, accepted) VALUES (1, NULL, 0);
