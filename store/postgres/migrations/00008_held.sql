-- +goose Up

-- Accounts of which a node still has something under way, though it has given their shard
-- back, see held.go. A row counts as long as its node is alive with this epoch.
CREATE TABLE held (
    account text COLLATE "C" PRIMARY KEY,
    shard   smallint NOT NULL,
    slot    smallint NOT NULL,
    epoch   bigint NOT NULL
);

-- A node of the release before does not know of these rows: it does not get a shard of which
-- one counts. To it, it is as if another node were faster.
-- +goose StatementBegin
CREATE FUNCTION leave_held() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM held h JOIN nodes n ON n.slot = h.slot AND n.epoch = h.epoch AND n.alive WHERE h.shard = NEW.shard)
        AND NOT EXISTS (SELECT FROM nodes n WHERE n.slot = NEW.slot AND n.epoch = n.leaves_held) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER shards_leave_held BEFORE UPDATE OF slot ON shards FOR EACH ROW
    WHEN (NEW.slot IS NOT NULL AND NEW.slot IS DISTINCT FROM OLD.slot) EXECUTE FUNCTION leave_held();

-- The epoch of a node that leaves held accounts alone. A node of the release before has
-- another one, as each epoch is a new one.
ALTER TABLE nodes ADD COLUMN leaves_held bigint NOT NULL DEFAULT 0;
