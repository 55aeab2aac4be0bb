-- +goose Up

-- Deliveries that were given up, of which the platform is to be told: how many of each
-- account, since when, and when it is told.
CREATE TABLE notices (
    account_id TEXT PRIMARY KEY,
    webhook_id TEXT NOT NULL, -- empty: it had been removed
    at         INTEGER NOT NULL,
    due_at     INTEGER NOT NULL,
    deliveries INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX notices_due ON notices (due_at, account_id);

-- Endpoints that fail while the platform has a webhook: since when, why, and when the
-- platform is told; 0: it has been.
CREATE TABLE failing_endpoints (
    account_id  TEXT PRIMARY KEY,
    webhook_id  TEXT NOT NULL,
    version     INTEGER NOT NULL, -- of the webhook
    at          INTEGER NOT NULL,
    error       TEXT NOT NULL,
    status_code INTEGER NOT NULL,
    due_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX failing_endpoints_due ON failing_endpoints (due_at, account_id) WHERE due_at > 0;
