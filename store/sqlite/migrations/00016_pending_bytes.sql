-- +goose Up

-- Tallies count the bytes of what is PENDING, too: the counter 4. Of what is PENDING now
-- it is logged as a change in the minute after the last one: the account's length and
-- name, one counter, its number, twice its value in six digits of seven bits, no flags
-- and no attempts in a row. It reads every PENDING delivery once.
INSERT INTO tally_log (minute, changes)
    SELECT (SELECT max(coalesce((SELECT max(minute) FROM tallies), 0), coalesce((SELECT max(minute) FROM tally_log), 0)) + 1),
        unhex(printf('%02x%s0104%02x%02x%02x%02x%02x%02x0000', length(CAST(account_id AS BLOB)), hex(CAST(account_id AS BLOB)),
            (2 * n & 127) | 128, (2 * n >> 7 & 127) | 128, (2 * n >> 14 & 127) | 128, (2 * n >> 21 & 127) | 128, (2 * n >> 28 & 127) | 128, 2 * n >> 35 & 127))
    FROM (SELECT account_id, sum(bytes) AS n FROM (
        SELECT w.account_id, length(d.payload) AS bytes FROM waiting w JOIN deliveries d ON d.seq = w.seq
        UNION ALL SELECT d.account_id, length(d.payload) FROM totals t JOIN deliveries d ON d.seq > t.listed
            WHERE NOT EXISTS (SELECT 1 FROM waiting w WHERE w.seq = d.seq) AND NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.seq = d.seq AND o.ended_at > 0))
        GROUP BY account_id);
