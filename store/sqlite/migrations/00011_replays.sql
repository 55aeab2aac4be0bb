-- +goose Up

-- A PENDING delivery that is sent again: since when, to which webhook, and how many
-- attempts had been made before. In its first run 0, '' and 0.
ALTER TABLE waiting ADD COLUMN replayed_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE waiting ADD COLUMN webhook_id TEXT NOT NULL DEFAULT '';
ALTER TABLE waiting ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
CREATE INDEX waiting_replayed ON waiting (account_id, due_at, seq) WHERE replayed_at > 0;
