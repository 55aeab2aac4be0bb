-- +goose Up

-- What was counted of an account by the end of a minute, see tally.go: numbers that only
-- grow, so that what happened between two minutes is their difference. A minute in which
-- nothing happened has no row.
CREATE TABLE tallies (
    account_id TEXT NOT NULL,
    minute     INTEGER NOT NULL, -- since 1970
    tally      BLOB NOT NULL,
    PRIMARY KEY (account_id, minute)
) STRICT, WITHOUT ROWID;

-- What each commit has counted that is not in the table yet.
CREATE TABLE tally_log (
    id      INTEGER PRIMARY KEY,
    minute  INTEGER NOT NULL,
    changes BLOB NOT NULL
) STRICT;

-- Of the time before, it is known what is PENDING: the counter 0, twice its number in
-- five digits of seven bits.
INSERT INTO tallies
    SELECT account_id, 0, unhex(printf('0100%02x%02x%02x%02x%02x0000', (2 * n & 127) | 128, (2 * n >> 7 & 127) | 128, (2 * n >> 14 & 127) | 128, (2 * n >> 21 & 127) | 128, 2 * n >> 28 & 127))
    FROM (SELECT account_id, count(*) AS n FROM (
        SELECT account_id FROM waiting
        UNION ALL SELECT d.account_id FROM totals t JOIN deliveries d ON d.seq > t.listed
            WHERE NOT EXISTS (SELECT 1 FROM waiting w WHERE w.seq = d.seq) AND NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.seq = d.seq AND o.ended_at > 0))
        GROUP BY account_id);

-- What has waited longest: in its first run (0), and of what is sent again.
CREATE INDEX waiting_longest ON waiting (account_id, replayed_at, seq);
