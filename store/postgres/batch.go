package postgres

import (
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recapito/recapito/store"
)

// batchTries is how often events and outcomes are stored that others' commits
// prevent.
const batchTries = 5

// commitBatch stores events and outcomes in one transaction of two round trips, and of
// one more if the writer does not know the tallies of all accounts. That no event is known is taken for granted at first: to look takes a third of the time
// again, and it is rare. The index finds it.
func (tx *txn) commitBatch(ops []*operation) error {
	all, err := tx.candidates(ops)
	if err != nil {
		return err
	}
	var todo []*candidate
	for try := 1; ; try++ {
		if todo, err = tx.admit(all, try > 1); err != nil {
			return err
		}
		tx.moved, tx.outcomes, tx.counting, tx.given, tx.overtakes = counts{}, 0, tx.w.beginCounting(), map[int64]givenUp{}, false
		err = tx.sendBatch(ops, todo)
		if err != nil && !tx.w.conn.IsClosed() {
			_, failed := tx.w.conn.Exec(tx.ctx, `ROLLBACK`)
			if failed != nil {
				err = errors.Join(err, failed, tx.w.conn.Close(tx.ctx))
			}
		}
		code := codeOf(err)
		if code == uniqueViolation {
			tx.w.store.slowInserts.Add(1)
		}
		if err == nil || try == batchTries || code != uniqueViolation && code != deadlock {
			break
		}
	}
	if err != nil {
		return err
	}
	tx.accepted(todo)
	for _, op := range ops {
		op.answer()
	}
	return nil
}

func (op *operation) answer() {
	if op.intake != nil && op.err == nil {
		copy(op.intake.verdicts, op.intake.found)
	}
}

// sendBatch sends what is stored, and then what follows from its results: what is
// counted, and the fence.
func (tx *txn) sendBatch(ops []*operation, todo []*candidate) error {
	batch := &pgx.Batch{}
	batch.Queue(`BEGIN`)
	batch.Queue(tx.w.bounds())
	if len(todo) > 0 {
		tx.insert(batch, todo)
	}
	for _, op := range ops {
		if op.record != nil && op.err == nil {
			tx.record(batch, op.record)
		}
	}
	if err := tx.w.conn.SendBatch(tx.ctx, batch).Close(); err != nil {
		return err
	}
	tx.moved[pending] += int64(len(todo))
	for _, c := range todo {
		tx.tally(c.no, instant(c.at)).AddPending(1, int64(len(c.Payload)))
	}
	tx.countSkipped(ops)
	if err := tx.sumTallies(tx.w.conn); err != nil {
		return err
	}
	batch = &pgx.Batch{}
	if len(tx.counting.sums) > 0 {
		batch.Queue(putTallies, tx.tallyArgs()...)
	}
	if len(tx.given) > 0 {
		batch.Queue(addNotices, tx.noticeArgs()...)
	}
	tx.took = len(todo) > 0
	tx.fence(batch, len(todo)-1)
	batch.Queue(`COMMIT`)
	return tx.w.conn.SendBatch(tx.ctx, batch).Close()
}

// countSkipped counts the events that were not accepted for want of a webhook.
func (tx *txn) countSkipped(ops []*operation) {
	for _, op := range ops {
		if op.intake == nil || op.err != nil {
			continue
		}
		for i, verdict := range op.intake.found {
			if r := op.intake.accounts[op.intake.events[i].AccountID]; verdict == store.NoWebhook {
				tx.tally(r.no, time.UnixMicro(op.intake.at)).AddSkipped()
			}
		}
	}
}
