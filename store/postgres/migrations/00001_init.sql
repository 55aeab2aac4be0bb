-- +goose Up

-- Times are microseconds since 1970, UTC; 0 is none. There are no foreign keys: each
-- would lock a row for every row that names it.

-- What all processes share: how many changes processes have made to accounts and keys
-- beside the one that serves, and how long a lease lasts.
CREATE TABLE cluster (
    id      smallint PRIMARY KEY CHECK (id = 1),
    changes bigint NOT NULL,
    ttl_ms  integer NOT NULL
);
INSERT INTO cluster VALUES (1, 0, 5000);

-- One value a commit that accepts: seq is 65,536 times the value, and the place in
-- the commit.
CREATE SEQUENCE blocks;

-- The processes that serve. The last statement of every commit of such a process
-- updates its row, and fails if that is not alive or has another epoch.
CREATE TABLE nodes (
    slot      smallint PRIMARY KEY,
    epoch     bigint NOT NULL,  -- of the process and its connection
    alive     boolean NOT NULL,
    beat      bigint NOT NULL,  -- grows with every commit
    pos       bigint NOT NULL,  -- seq of the last delivery that it accepted
    mark      bigint NOT NULL,  -- what is PENDING up to this seq is in waiting
    pending   bigint NOT NULL,  -- by how much it has changed the number of deliveries
    delivered bigint NOT NULL,  -- in each state: the sums over all nodes are the numbers
    failed    bigint NOT NULL,
    cancelled bigint NOT NULL,
    host      text NOT NULL,    -- for people
    since     bigint NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

CREATE TABLE accounts (
    no         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- in place of the id in all other tables
    id         text COLLATE "C" NOT NULL UNIQUE,
    shard      smallint NOT NULL,                               -- first byte of the SHA-256 of the id
    created_at bigint NOT NULL
);

-- That of the platform's own webhook, which is in no listing.
INSERT INTO accounts (no, id, shard, created_at) OVERRIDING SYSTEM VALUE VALUES (0, '$operations', 0, 0);

CREATE TABLE api_keys (
    hash       bytea PRIMARY KEY, -- SHA-256 of the key
    account    bigint NOT NULL,
    id         text COLLATE "C" NOT NULL,
    hint       text NOT NULL,
    created_at bigint NOT NULL,
    UNIQUE (account, id)
);

CREATE TABLE webhooks (
    account      bigint PRIMARY KEY,
    id           text NOT NULL,
    callback_url bytea NOT NULL, -- sealed, if there is a secret key: its query may hold a token
    status       text NOT NULL,
    secret       bytea NOT NULL, -- sealed, if there is a secret key
    version      bigint NOT NULL,
    first_seq    bigint NOT NULL,
    created_at   bigint NOT NULL,
    updated_at   bigint NOT NULL,
    health_since   bigint NOT NULL, -- what was last recorded of the endpoint, since when, and
    health_version bigint NOT NULL, -- the version of the webhook when that last began anew
    health         text NOT NULL
);
CREATE INDEX webhooks_health ON webhooks (health, account) WHERE health <> 'HEALTHY';

-- The changes of state of each webhook, numbered from 1.
CREATE TABLE health_changes (
    account     bigint NOT NULL,
    number      bigint NOT NULL,
    at          bigint NOT NULL,
    version     bigint NOT NULL,
    status_code integer NOT NULL, -- of the last failed attempt before it; 0: no answer
    error       text NOT NULL,    -- the same; empty: not for the worse
    from_state  text NOT NULL,
    to_state    text NOT NULL,
    webhook_id  text NOT NULL,
    PRIMARY KEY (account, number)
);

-- The signing secrets that rotations have replaced, each until its own end.
CREATE TABLE old_secrets (
    account bigint NOT NULL,
    version bigint NOT NULL, -- of the webhook that it signed last
    secret  bytea NOT NULL,  -- sealed, if there is a secret key
    until   bigint NOT NULL, -- it signs before this time
    PRIMARY KEY (account, version)
);
CREATE INDEX old_secrets_until ON old_secrets (until);

-- What was accepted; nothing here changes.
CREATE TABLE deliveries (
    seq         bigint PRIMARY KEY,        -- order of acceptance
    accepted_at bigint NOT NULL,
    account     bigint NOT NULL,
    sequence    integer NOT NULL,          -- within (account, message, channel, part)
    part        integer NOT NULL,
    src         smallint NOT NULL,         -- slot of the node that accepted it
    shard       smallint NOT NULL,         -- of the account
    channel     text COLLATE "C" NOT NULL,
    event_id    text COLLATE "C" NOT NULL,
    message_id  text COLLATE "C" NOT NULL,
    payload     bytea NOT NULL             -- what is sent, but for its sequence
);
ALTER TABLE deliveries ALTER COLUMN payload SET STORAGE EXTERNAL;

-- The event and the message first: their ids grow with time, as a rule, so that
-- these indexes grow at their end. That of the message is unique, so that no two
-- nodes give the same sequence.
CREATE UNIQUE INDEX deliveries_event ON deliveries (event_id, account);
CREATE UNIQUE INDEX deliveries_message ON deliveries (message_id, account, channel, part, sequence);
CREATE INDEX deliveries_account ON deliveries (account, seq);
CREATE INDEX deliveries_listed ON deliveries (account, accepted_at, seq);

-- What became of a delivery: its attempts, one of which may have ended it, or a
-- row numbered 0 if it ended without one. Without an end it is PENDING.
CREATE TABLE outcomes (
    seq         bigint NOT NULL,   -- of the delivery
    at          bigint NOT NULL,
    ended_at    bigint NOT NULL,   -- if it ended it; else 0
    account     bigint,            -- NULL for what acknowledged a delivery at first, nearly all
    duration    bigint NOT NULL,   -- microseconds
    number      integer NOT NULL,  -- of the attempt; 0: none was made
    failures    integer NOT NULL,  -- of the delivery, so far
    status_code smallint NOT NULL, -- 0: no answer
    state       smallint NOT NULL, -- if it ended it: 1 DELIVERED, 2 FAILED, 3 CANCELLED; else 0
    probe       boolean NOT NULL,
    error       text NOT NULL,
    detail      text NOT NULL,
    phases      bytea,             -- see store.Attempt.PackPhases; NULL: not known
    response    bytea,
    location    bytea,             -- of a redirect, and the header of a failed answer:
    header      bytea,             -- whatever bytes the endpoint has sent
    PRIMARY KEY (seq, number)
);
CREATE INDEX outcomes_ended ON outcomes (ended_at) WHERE ended_at > 0;
CREATE INDEX outcomes_account ON outcomes (account, at, seq, number) WHERE account IS NOT NULL;

-- The PENDING deliveries that were put off until due_at, and the fresh ones (0) up
-- to the mark.
CREATE TABLE waiting (
    seq         bigint PRIMARY KEY,
    account     bigint NOT NULL,
    due_at      bigint NOT NULL,
    replayed_at bigint NOT NULL DEFAULT 0, -- of one that is sent again: since when,
    attempts    integer NOT NULL DEFAULT 0, -- how many had been made before,
    shard       smallint NOT NULL,
    webhook_id  text NOT NULL DEFAULT ''   -- and to which webhook; in its first run 0, 0 and ''
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE UNIQUE INDEX waiting_account ON waiting (account, due_at, seq);
CREATE INDEX waiting_replayed ON waiting (account, due_at, seq) WHERE replayed_at > 0;

-- The accounts whose erasure has begun and is not done.
CREATE TABLE erasing (
    account bigint PRIMARY KEY, -- its number
    id      text COLLATE "C" NOT NULL
);

-- Deliveries that were given up, of which the platform is to be told: how many of each
-- account, since when, and when it is told.
CREATE TABLE notices (
    account    bigint PRIMARY KEY,
    at         bigint NOT NULL,
    due_at     bigint NOT NULL,
    deliveries bigint NOT NULL,
    webhook_id text NOT NULL    -- empty: it had been removed
);
CREATE INDEX notices_due ON notices (due_at);

-- Endpoints that fail while the platform has a webhook: since when, why, and when the
-- platform is told; 0: it has been.
CREATE TABLE failing_endpoints (
    account     bigint PRIMARY KEY,
    at          bigint NOT NULL,
    due_at      bigint NOT NULL,
    version     bigint NOT NULL, -- of the webhook
    status_code integer NOT NULL,
    error       text NOT NULL,
    webhook_id  text NOT NULL
);
CREATE INDEX failing_endpoints_due ON failing_endpoints (due_at) WHERE due_at > 0;

-- What was counted of an account by the end of a minute, see tally.go.
CREATE TABLE tallies (
    account bigint NOT NULL,
    minute  bigint NOT NULL, -- since 1970
    tally   bytea NOT NULL,
    PRIMARY KEY (account, minute)
) WITH (fillfactor = 70);
CREATE INDEX tallies_minute ON tallies (minute);

-- Replays of what a query lists, see bulk.go.
CREATE TABLE replays (
    id          text PRIMARY KEY,
    account     bigint NOT NULL,
    started_at  bigint NOT NULL,
    ended_at    bigint NOT NULL, -- 0: it goes on
    matched     bigint NOT NULL,
    replayed    bigint NOT NULL,
    damaged     bigint NOT NULL,
    accepted_at bigint NOT NULL, -- everything up to this place has been counted or, once
    seq         bigint NOT NULL, -- all is, replayed
    group_id    text NOT NULL,   -- the replay over several accounts that it is a part of; '': none
    state       text NOT NULL,
    query       bytea NOT NULL,  -- JSON of store.DeliveryQuery
    asked       bytea NOT NULL   -- the filters, as they were given
);
CREATE UNIQUE INDEX replays_running ON replays (account) WHERE ended_at = 0;
CREATE INDEX replays_account ON replays (account, started_at, id);
CREATE INDEX replays_group ON replays (group_id, account) WHERE group_id <> '';
CREATE INDEX replays_ended ON replays (ended_at) WHERE ended_at > 0;

-- Replays of several accounts, see group.go.
CREATE TABLE replay_groups (
    id         text PRIMARY KEY,
    started_at bigint NOT NULL,
    ended_at   bigint NOT NULL, -- 0: it goes on
    skipped    bigint NOT NULL, -- accounts
    state      text NOT NULL,
    after      text COLLATE "C" NOT NULL, -- accounts up to this one have had their turn
    accounts   bytea NOT NULL,  -- JSON list, in order; null: all
    query      bytea NOT NULL,  -- as in replays
    asked      bytea NOT NULL
);
CREATE UNIQUE INDEX replay_groups_running ON replay_groups (ended_at) WHERE ended_at = 0;
CREATE INDEX replay_groups_started ON replay_groups (started_at, id);
CREATE INDEX replay_groups_ended ON replay_groups (ended_at) WHERE ended_at > 0;

CREATE TABLE settings (
    name  text PRIMARY KEY,
    value bytea NOT NULL
);
