-- +goose Up

-- How an attempt went, see phases.go: NULL if it is not known, as in rows from
-- before. And the beginning of a failed answer's header; empty: none.
ALTER TABLE outcomes ADD COLUMN phases BLOB;
ALTER TABLE outcomes ADD COLUMN header TEXT NOT NULL DEFAULT '';
