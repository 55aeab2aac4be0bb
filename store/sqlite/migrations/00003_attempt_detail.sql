-- +goose Up

-- What more is known of a failed attempt; empty: nothing.
ALTER TABLE outcomes ADD COLUMN detail TEXT NOT NULL DEFAULT '';   -- a word of the contract
ALTER TABLE outcomes ADD COLUMN location TEXT NOT NULL DEFAULT ''; -- of a redirect
