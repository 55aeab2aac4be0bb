-- +goose Up

-- The accounts whose erasure has begun and is not done, see erase.go.
CREATE TABLE erasing (
    account_id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
