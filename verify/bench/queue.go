package main

import (
	"context"

	"github.com/recapito/recapito/verify/rig"
)

// simplestQueue is the database's CPU in µs for each of n rows that are put into a table
// and removed again, a hundred at a time.
func (r *run) simplestQueue(n int) (float64, error) {
	ctx := context.Background()
	conn, err := r.openDatabase(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, `CREATE TABLE simplest (seq bigint PRIMARY KEY, payload bytea NOT NULL)`); err != nil {
		return 0, err
	}
	before, err := rig.FamilyCPU(r.server.PID())
	if err != nil {
		return 0, err
	}
	seqs, payloads := make([]int64, nodesBatch), make([][]byte, nodesBatch)
	for first := 0; first < n; first += nodesBatch {
		for i := range seqs {
			seqs[i], payloads[i] = int64(first+i), []byte(rig.CallbackBody)
		}
		if _, err := conn.Exec(ctx, `INSERT INTO simplest SELECT * FROM unnest($1::bigint[], $2::bytea[])`, seqs, payloads); err != nil {
			return 0, err
		}
		if _, err := conn.Exec(ctx, `DELETE FROM simplest WHERE seq = ANY($1)`, seqs); err != nil {
			return 0, err
		}
	}
	after, err := rig.FamilyCPU(r.server.PID())
	return micros(after-before) / float64(n), err
}
