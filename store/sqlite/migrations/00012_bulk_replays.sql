-- +goose Up

-- Replays of what a query lists, see bulk.go.
CREATE TABLE replays (
    id         TEXT PRIMARY KEY,
    account_id TEXT NOT NULL,
    group_id   TEXT NOT NULL,    -- the replay over several accounts that it is a part of; '': none
    query      BLOB NOT NULL,    -- JSON of store.DeliveryQuery
    asked      BLOB NOT NULL,    -- the filters, as they were given
    started_at INTEGER NOT NULL,
    state      TEXT NOT NULL,
    ended_at   INTEGER NOT NULL, -- 0: it goes on
    matched    INTEGER NOT NULL,
    replayed   INTEGER NOT NULL,
    damaged    INTEGER NOT NULL,
    -- Everything up to this place has been counted or, once all is, replayed.
    accepted_at INTEGER NOT NULL,
    seq         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX replays_running ON replays (account_id) WHERE ended_at = 0;
CREATE INDEX replays_account ON replays (account_id, started_at, id);
CREATE INDEX replays_group ON replays (group_id, account_id) WHERE group_id <> '';
CREATE INDEX replays_ended ON replays (ended_at) WHERE ended_at > 0;

-- Replays of several accounts, see group.go.
CREATE TABLE replay_groups (
    id         TEXT PRIMARY KEY,
    accounts   BLOB NOT NULL,    -- JSON list, in order; null: all
    query      BLOB NOT NULL,    -- as in replays
    asked      BLOB NOT NULL,
    started_at INTEGER NOT NULL,
    state      TEXT NOT NULL,
    ended_at   INTEGER NOT NULL, -- 0: it goes on
    skipped    INTEGER NOT NULL, -- accounts
    after      TEXT NOT NULL     -- accounts up to this one have had their turn
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX replay_groups_running ON replay_groups (ended_at) WHERE ended_at = 0;
CREATE INDEX replay_groups_started ON replay_groups (started_at, id);
CREATE INDEX replay_groups_ended ON replay_groups (ended_at) WHERE ended_at > 0;
