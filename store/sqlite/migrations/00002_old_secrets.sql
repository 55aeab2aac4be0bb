-- +goose Up

-- The signing secrets that rotations have replaced, each until its own end.
CREATE TABLE old_secrets (
    account_id TEXT NOT NULL,
    version    INTEGER NOT NULL, -- of the webhook that it signed last
    secret     BLOB NOT NULL,    -- sealed, if there is a secret key
    until      INTEGER NOT NULL, -- it signs before this time
    PRIMARY KEY (account_id, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX old_secrets_until ON old_secrets (until);

INSERT INTO old_secrets SELECT account_id, version - 1, previous_secret, previous_until FROM webhooks WHERE previous_secret IS NOT NULL;
ALTER TABLE webhooks DROP COLUMN previous_secret;
ALTER TABLE webhooks DROP COLUMN previous_until;
