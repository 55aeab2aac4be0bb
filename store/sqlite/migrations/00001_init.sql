-- +goose Up

CREATE TABLE accounts (
    id         TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL -- times are microseconds since 1970, UTC; 0 is none
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    hash       BLOB PRIMARY KEY, -- SHA-256 of the key
    account_id TEXT NOT NULL,
    id         TEXT NOT NULL,
    hint       TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX api_keys_account ON api_keys (account_id, id);

CREATE TABLE webhooks (
    account_id      TEXT PRIMARY KEY,
    id              TEXT NOT NULL,
    callback_url    TEXT NOT NULL,
    status          TEXT NOT NULL,
    secret          BLOB NOT NULL, -- sealed, if there is a secret key
    previous_secret BLOB,
    previous_until  INTEGER NOT NULL,
    version         INTEGER NOT NULL,
    first_seq       INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- An event and its delivery. state: 0 PENDING, 1 DELIVERED, 2 FAILED, 3 CANCELLED.
CREATE TABLE deliveries (
    seq         INTEGER PRIMARY KEY, -- order of acceptance
    account_id  TEXT NOT NULL,
    event_id    TEXT NOT NULL,
    message_id  TEXT NOT NULL,
    channel     TEXT NOT NULL,
    part        INTEGER NOT NULL,
    sequence    INTEGER NOT NULL,    -- within (account, message, channel, part)
    payload     BLOB NOT NULL,       -- what is sent, but for its sequence
    accepted_at INTEGER NOT NULL,
    state       INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    failures    INTEGER NOT NULL,
    due_at      INTEGER NOT NULL,    -- 0: fresh
    finished_at INTEGER NOT NULL
) STRICT;

-- The event and the message first: their ids grow with time, as a rule, so that
-- these indexes grow at their end. One that begins with the account costs a page
-- for each account of a commit.
CREATE UNIQUE INDEX deliveries_event ON deliveries (event_id, account_id);
CREATE INDEX deliveries_message ON deliveries (message_id, account_id, channel, part, sequence);
CREATE INDEX deliveries_listed ON deliveries (account_id, accepted_at);
CREATE INDEX deliveries_pending ON deliveries (account_id, due_at) WHERE state = 0;
CREATE INDEX deliveries_finished ON deliveries (finished_at) WHERE finished_at > 0;

CREATE TABLE attempts (
    seq         INTEGER NOT NULL, -- of the delivery
    number      INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    duration    INTEGER NOT NULL, -- microseconds
    status_code INTEGER NOT NULL, -- 0: no answer
    error       TEXT NOT NULL,
    response    BLOB,
    probe       INTEGER NOT NULL,
    PRIMARY KEY (seq, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- How many deliveries there are in each state, and the greatest seq ever given.
CREATE TABLE totals (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    last_seq  INTEGER NOT NULL,
    pending   INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    failed    INTEGER NOT NULL,
    cancelled INTEGER NOT NULL
) STRICT;
INSERT INTO totals VALUES (1, 0, 0, 0, 0, 0);
