-- +goose Up

-- The trace context in which an event was handed in (W3C Trace Context); empty: none. It
-- has no checksum: nothing that is sent is made from it, and what is none is ignored.
ALTER TABLE deliveries ADD COLUMN traceparent TEXT NOT NULL DEFAULT '';
