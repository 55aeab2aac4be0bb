-- +goose Up

-- Whether the webhook has been put and some of what was put off before is still to be made
-- due. Where a process ended before this was known, that waits until its time.
ALTER TABLE webhooks ADD COLUMN make_due boolean NOT NULL DEFAULT false;
