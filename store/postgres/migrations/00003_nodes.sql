-- +goose Up

-- Several nodes serve a database. Each accepts any account's events, and attempts for
-- the accounts of its shards.

-- The numbers of blocks that were drawn end with last_value, from the first one on.
SELECT nextval('blocks');

-- A stream: what a node has accepted, in order.
CREATE UNIQUE INDEX deliveries_stream ON deliveries (src, seq);

-- Whose the accounts of a shard are (NULL: nobody's yet), and up to which seq all that
-- is PENDING of them is in waiting.
CREATE TABLE shards (
    shard smallint PRIMARY KEY,
    slot  smallint,
    mark  bigint NOT NULL
) WITH (fillfactor = 25, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
INSERT INTO shards SELECT s, NULL, coalesce((SELECT max(mark) FROM nodes), 0) FROM generate_series(0, 255) AS s;

ALTER TABLE nodes DROP COLUMN mark;
ALTER TABLE nodes ADD COLUMN applied bigint NOT NULL DEFAULT 0; -- changes that it has taken in
ALTER TABLE nodes ADD COLUMN leaving boolean NOT NULL DEFAULT false; -- it takes no accounts any more

-- What every node must know of before it is answered, or soon: up to cluster.changes.
-- What all nodes have taken in is removed.
CREATE TABLE changes (
    id      bigint PRIMARY KEY,
    account text COLLATE "C" NOT NULL,
    kind    smallint NOT NULL, -- see changes.go
    at      bigint NOT NULL,
    seq     bigint NOT NULL    -- of a delivery that is sent again
);

-- Erasures wait until every node has taken this change in.
ALTER TABLE erasing ADD COLUMN change bigint NOT NULL DEFAULT 0;

-- Each node counts by itself: a tally is the sum of those of all nodes.
ALTER TABLE tallies ADD COLUMN slot smallint NOT NULL DEFAULT 0;
ALTER TABLE tallies DROP CONSTRAINT tallies_pkey;
ALTER TABLE tallies ADD PRIMARY KEY (account, slot, minute);
