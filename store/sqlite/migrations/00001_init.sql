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
    callback_url    BLOB NOT NULL, -- sealed, if there is a secret key: its query may hold a token
    status          TEXT NOT NULL,
    secret          BLOB NOT NULL, -- sealed, if there is a secret key
    previous_secret BLOB,          -- the same
    previous_until  INTEGER NOT NULL,
    version         INTEGER NOT NULL,
    first_seq       INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was accepted; nothing here changes.
CREATE TABLE deliveries (
    seq         INTEGER PRIMARY KEY, -- order of acceptance
    account_id  TEXT NOT NULL,
    event_id    TEXT NOT NULL,
    message_id  TEXT NOT NULL,
    channel     TEXT NOT NULL,
    part        INTEGER NOT NULL,
    sequence    INTEGER NOT NULL,    -- within (account, message, channel, part)
    payload     BLOB NOT NULL,       -- what is sent, but for its sequence
    accepted_at INTEGER NOT NULL
) STRICT;

-- The event and the message first: their ids grow with time, as a rule, so that
-- these indexes grow at their end. One that begins with the account would cost a
-- page for each account of a commit.
CREATE UNIQUE INDEX deliveries_event ON deliveries (event_id, account_id);
CREATE INDEX deliveries_message ON deliveries (message_id, account_id, channel, part, sequence);

-- What became of a delivery: its attempts, one of which may have ended it, or a
-- row numbered 0 if it ended without one. Without an end it is PENDING.
CREATE TABLE outcomes (
    seq         INTEGER NOT NULL, -- of the delivery
    number      INTEGER NOT NULL, -- of the attempt; 0: none was made
    at          INTEGER NOT NULL,
    duration    INTEGER NOT NULL, -- microseconds
    status_code INTEGER NOT NULL, -- 0: no answer
    error       TEXT NOT NULL,
    response    BLOB,
    probe       INTEGER NOT NULL,
    failures    INTEGER NOT NULL, -- of the delivery, so far
    state       INTEGER NOT NULL, -- if it ended it: 1 DELIVERED, 2 FAILED, 3 CANCELLED; else 0
    ended_at    INTEGER NOT NULL, -- if it ended it; else 0
    PRIMARY KEY (seq, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX outcomes_ended ON outcomes (ended_at) WHERE ended_at > 0;

-- The deliveries of an account, in order. The newest are entered later, many at
-- a time: until then they are in memory, see tail.go.
CREATE TABLE listed (
    account_id  TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    PRIMARY KEY (account_id, accepted_at, seq)
) STRICT, WITHOUT ROWID;

-- The PENDING deliveries of an account: those put off until due_at and, once
-- they are listed, the fresh ones (0).
CREATE TABLE waiting (
    account_id TEXT NOT NULL,
    due_at     INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    PRIMARY KEY (account_id, due_at, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX waiting_seq ON waiting (seq);

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- How many deliveries there are in each state, the greatest seq ever given, and
-- up to which seq all are listed.
CREATE TABLE totals (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    last_seq  INTEGER NOT NULL,
    listed    INTEGER NOT NULL,
    pending   INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    failed    INTEGER NOT NULL,
    cancelled INTEGER NOT NULL
) STRICT;
INSERT INTO totals VALUES (1, 0, 0, 0, 0, 0, 0);
