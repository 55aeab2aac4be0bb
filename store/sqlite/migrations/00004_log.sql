-- +goose Up

-- What tells whether a write-ahead log belongs to the database file beside it,
-- see log_check.go: how many commits there were, from a random number on, and
-- whether the file as it is without its log lacks what was committed.
ALTER TABLE totals ADD COLUMN commits INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN log_needed INTEGER NOT NULL DEFAULT 0;
UPDATE totals SET commits = abs(random() / 4);
