-- +goose Up

-- Tallies count the bytes of what is PENDING, too. Of what is PENDING now they are put
-- before the other counters of the account's last tally, of one of the nodes, whose number is its first byte:
-- the counter 4, twice its value in six digits of seven bits.
UPDATE tallies t SET tally = decode(lpad(to_hex(get_byte(t.tally, 0) + 1), 2, '0') || '04'
        || lpad(to_hex(2 * p.n & 127 | 128), 2, '0') || lpad(to_hex(2 * p.n >> 7 & 127 | 128), 2, '0') || lpad(to_hex(2 * p.n >> 14 & 127 | 128), 2, '0')
        || lpad(to_hex(2 * p.n >> 21 & 127 | 128), 2, '0') || lpad(to_hex(2 * p.n >> 28 & 127 | 128), 2, '0') || lpad(to_hex(2 * p.n >> 35 & 127), 2, '0'), 'hex')
        || substr(t.tally, 2)
    FROM (SELECT d.account, sum(octet_length(d.payload))::bigint AS n FROM deliveries d
        WHERE NOT EXISTS (SELECT FROM outcomes o WHERE o.seq = d.seq AND o.ended_at > 0) GROUP BY d.account) p
    WHERE t.account = p.account AND (t.slot, t.minute) = (SELECT l.slot, l.minute FROM tallies l WHERE l.account = p.account ORDER BY l.slot, l.minute DESC LIMIT 1);
