-- +goose Up

-- When an API key ends by itself, as that of a link into the console does; 0: never.
ALTER TABLE api_keys ADD COLUMN expires_at INTEGER NOT NULL DEFAULT 0;
