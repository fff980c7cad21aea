-- Which control planes may have granted leases to proxies.

-- A control plane writes its row before it grants the first lease, and a logout reads the rows after its commit: whoever is
-- not in them has granted nothing that could be in the way. None of this outlives its owner: rows are removed by the owner
-- when it ends, or by any other control plane when their number has stood still for long enough.
CREATE TABLE replicas (
    -- Names a running control plane: random, made anew at each start.
    id              BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    -- Raised by the owner with every write. No clock of one machine is compared with another's: that the owner is silent is
    -- told by this number's standing still.
    beat            INTEGER NOT NULL,
    -- Up to where no lease of the owner's is in the way of a logout, in this history of the log; NULL if nothing is known.
    confirmed_epoch BLOB    CHECK (length(confirmed_epoch) = 16),
    -- The place in that history.
    confirmed_seq   INTEGER,
    CHECK ((confirmed_epoch IS NULL) = (confirmed_seq IS NULL))
) STRICT, WITHOUT ROWID;
