-- Which source of an issuer's keys was asked last. An operator may give another one: what is noted of the old one is nothing
-- that the new one has to wait for, and what is noted of the new one outlasts a restart, also while the old one's keys are in
-- force.

-- 32 bits of a hash over the source that the last question went to, with the query of its URL. The query may hold a key of the
-- provider's, so it is stored nowhere, and 32 bits are too few to find it by. NULL in rows from before this migration.
ALTER TABLE key_fetches ADD COLUMN source_hash INTEGER;
