-- +goose Up

-- What was last recorded of an endpoint, since when, and the version of the webhook
-- when that last began anew. Of one with retries nothing is known but these.
ALTER TABLE webhooks ADD COLUMN health TEXT NOT NULL DEFAULT 'HEALTHY';
ALTER TABLE webhooks ADD COLUMN health_since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE webhooks ADD COLUMN health_version INTEGER NOT NULL DEFAULT 0;
UPDATE webhooks SET health_since = updated_at, health = CASE
    WHEN status = 'SUSPENDED' THEN 'SUSPENDED'
    WHEN EXISTS (SELECT 1 FROM waiting w WHERE w.account_id = webhooks.account_id AND w.due_at > 0) THEN 'SLOWED'
    ELSE 'HEALTHY' END;
CREATE INDEX webhooks_health ON webhooks (health, account_id) WHERE health <> 'HEALTHY';

-- The changes of state of each webhook, numbered from 1.
CREATE TABLE health_changes (
    account_id  TEXT NOT NULL,
    number      INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    from_state  TEXT NOT NULL,
    to_state    TEXT NOT NULL,
    error       TEXT NOT NULL,    -- of the last failed attempt before it; empty: not for the worse
    status_code INTEGER NOT NULL, -- the same; 0: no answer
    webhook_id  TEXT NOT NULL,
    version     INTEGER NOT NULL,
    PRIMARY KEY (account_id, number)
) STRICT, WITHOUT ROWID;
