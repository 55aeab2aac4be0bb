-- +goose Up

-- CRC-32C of what a row says, see checksum.go; NULL in rows from before.
ALTER TABLE deliveries ADD COLUMN checksum INTEGER;
ALTER TABLE totals ADD COLUMN checksum INTEGER;
