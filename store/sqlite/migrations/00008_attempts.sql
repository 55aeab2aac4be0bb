-- +goose Up

-- The account of an attempt; NULL for those that acknowledged a delivery at
-- first, nearly all: they are found by the place of their delivery.
ALTER TABLE outcomes ADD COLUMN account_id TEXT;
UPDATE outcomes SET account_id = (SELECT account_id FROM deliveries d WHERE d.seq = outcomes.seq)
    WHERE number > 1 OR (number = 1 AND state <> 1);
CREATE INDEX outcomes_account ON outcomes (account_id, at, seq, number) WHERE account_id IS NOT NULL;
