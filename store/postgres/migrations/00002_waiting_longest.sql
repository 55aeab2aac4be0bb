-- +goose Up

-- What has waited longest: in its first run (0), and of what is sent again.
CREATE INDEX waiting_longest ON waiting (account, replayed_at, seq);
