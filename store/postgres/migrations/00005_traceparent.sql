-- +goose Up

-- The trace context in which an event was handed in (W3C Trace Context); NULL: none.
ALTER TABLE deliveries ADD COLUMN traceparent text;
