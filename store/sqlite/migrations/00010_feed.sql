-- +goose Up

-- The deliveries of an account in order of acceptance, whatever the clock was.
-- It is entered together with the table.
CREATE UNIQUE INDEX listed_seq ON listed (account_id, seq);
