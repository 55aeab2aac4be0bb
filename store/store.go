// Package store defines what Recapito keeps: the types, one small interface for
// each consumer, and the errors on which consumers decide. Implementations are
// store/memory and store/sqlite; store/storetest is the suite that each of them
// passes. It promises:
//
//   - What a method has reported as done survives a power cut (except in
//     store/memory).
//   - Everything belongs to exactly one account. For any other account it does not
//     exist.
//
// It leaves out HTTP, retry policy and time: the time is an argument.
package store

import (
	"context"
	"errors"
	"time"
)

// The errors on which callers decide. After any other error of a method that
// writes, the outcome is unknown: it may have happened or not. Every method can
// be repeated safely. A failure of one account is no failure of another.
var (
	// ErrNotFound means that there is no such thing, or that it belongs to
	// another account.
	ErrNotFound = errors.New("not found")
	// ErrConflict means that it exists already.
	ErrConflict = errors.New("exists already")
	// ErrErasing means that there was an account of that name, and that it is
	// still being erased.
	ErrErasing = errors.New("is still being erased")
	// ErrTooMany means that there are as many as there may be.
	ErrTooMany = errors.New("too many")
	// ErrNoWebhook means that the account has no webhook.
	ErrNoWebhook = errors.New("has no webhook")
	// ErrDamaged means that what is kept is not what was written.
	ErrDamaged = errors.New("is damaged")
	// ErrUnavailable means that the store could not write in time, or cannot at present. The
	// same may succeed a little later.
	ErrUnavailable = errors.New("cannot be written at present")
	// ErrClosed means that the store has been closed.
	ErrClosed = errors.New("store is closed")
	// ErrFenced: other processes took this one for dead, and have its accounts.
	// Nothing is written. The store registers the process anew by itself, when it
	// has told [Listener.Lost] of all accounts.
	ErrFenced = errors.New("the process has lost its accounts")
)

// Store is the whole contract, as an implementation fulfils it. Consumers name
// the parts that they use.
type Store interface {
	Accounts
	APIKeys
	Webhooks
	Intake
	History
	HealthRecords
	Feed
	Replays
	Queue
	Upkeep
	Settings
	Readiness
	Statistics
	// Close waits for the writes under way and releases everything. Calls
	// after it return [ErrClosed].
	Close() error
}

// Accounts are the tenants. The platform provisions and erases them.
type Accounts interface {
	// PutAccount makes the account if it is new and returns it as it is kept.
	// created says whether it is new. [ErrErasing] until the erasure of an earlier
	// one has ended, which may still erase what belongs to that ID.
	PutAccount(ctx context.Context, id string, now time.Time) (a Account, created bool, err error)
	// Account returns [ErrNotFound] when there is none.
	Account(ctx context.Context, id string) (Account, error)
	// Accounts lists accounts with what is known of their endpoints, the worst first.
	// How many it looks through is bounded, so that a page may have fewer than are asked
	// for, and still have a Next. None is left out that is there all the time. Of more
	// than 100,000 that wait, the others may be listed as if they did not.
	Accounts(ctx context.Context, q AccountQuery) (AccountPage, error)
	// DeleteAccount erases the account with all its data. The account itself,
	// its webhook and its keys are gone at once, its deliveries when it returns.
	// [ErrNotFound] when there is none. Once begun it goes on when ctx ends, and
	// after a restart; it can be repeated.
	DeleteAccount(ctx context.Context, id string) error
}

// APIKeys authenticate accounts. Only digests are kept.
type APIKeys interface {
	// AddAPIKey returns [ErrNotFound] if the account does not exist and
	// [ErrConflict] if the digest is known already, whosever it is. It removes
	// those of the account that had expired when this one was made.
	AddAPIKey(ctx context.Context, k APIKey) error
	// APIKeys lists the keys of an account, oldest first; [ErrNotFound] if the
	// account does not exist.
	APIKeys(ctx context.Context, accountID string) ([]APIKey, error)
	// RevokeAPIKey ends a key at once; [ErrNotFound] if the account has no
	// such key.
	RevokeAPIKey(ctx context.Context, accountID, keyID string) error
	// APIKeyByHash returns the key with this digest, or [ErrNotFound]. Every
	// request of an account asks for it.
	APIKeyByHash(ctx context.Context, hash KeyHash) (APIKey, error)
}

// Webhooks are the registrations, at most one for an account and for [Operations], as
// they are changed. The platform is told of each change, but for new secrets, in the same
// commit, see [Notice]. Whoever attempts the account's deliveries has been told of a
// change (see [Listener]) before the method that makes it returns.
type Webhooks interface {
	// CreateWebhook returns [ErrConflict] if the account has a webhook, and
	// [ErrNotFound] if there is no such account. Of concurrent calls exactly
	// one succeeds.
	CreateWebhook(ctx context.Context, w Webhook) (Webhook, error)
	// Webhook returns [ErrNotFound] when the account has none.
	Webhook(ctx context.Context, accountID string) (Webhook, error)
	// ReplaceCallbackURL sets the URL and makes the webhook ACTIVE; the secret
	// stays. It says by [Webhook.MakeDue] that whoever attempts the account's
	// deliveries is to make them due. [ErrNotFound] when the account has none.
	ReplaceCallbackURL(ctx context.Context, accountID, callbackURL string, now time.Time) (Webhook, error)
	// RotateSecret makes secret the signing secret and keeps the present one
	// beside it until the given time. [ErrNotFound] when the account has none,
	// [ErrTooMany] if [MaxOldSecrets] others sign as well.
	RotateSecret(ctx context.Context, accountID string, secret []byte, until, now time.Time) (Webhook, error)
	// DeleteWebhook removes the registration; what was PENDING is CANCELLED, at
	// least the first thousand at once and the rest by [Upkeep.Cancel].
	// [ErrNotFound] when the account has none.
	DeleteWebhook(ctx context.Context, accountID string, now time.Time) error
}

// Intake takes events in.
type Intake interface {
	// Accept stores the events, and a PENDING delivery for each, in the given
	// order and in few commits. It returns one verdict for each event. When it
	// returns without an error, every Accepted event is on disk; after an error
	// some may be. The accounts take turns: one that hands in much does not keep
	// another waiting. The events of
	// an account that cannot be read are Unreadable, and those beyond its quota
	// OverQuota, unless they are known; the others are not affected.
	Accept(ctx context.Context, events []Event, now time.Time) ([]Verdict, error)
}

// History answers questions about deliveries.
type History interface {
	// Deliveries lists the deliveries that q asks for, in the order of acceptance
	// by the clock of that time, newest first unless q says otherwise. How much it
	// looks through does not grow with what the account has. So Behind may leave
	// out some events where messages have thousands.
	Deliveries(ctx context.Context, q DeliveryQuery) (DeliveryPage, error)
	// Attempts lists the attempts that q asks for, newest first. Those of a page are
	// in order of their beginning. From page to page, two that began within seconds
	// of each other may have changed places; none is left out or told twice. How
	// much it looks through does not grow with what the account has.
	Attempts(ctx context.Context, q AttemptQuery) (AttemptPage, error)
	// Delivery returns one delivery with every attempt, in order, or
	// [ErrNotFound].
	Delivery(ctx context.Context, accountID, eventID string) (Delivery, []Attempt, error)
}

// HealthRecords answer questions about endpoints. What an account's webhook is now, its
// state among it, is in [Webhook].
type HealthRecords interface {
	// HealthChanges lists the changes of state of the account's present webhook,
	// newest first, [MaxHealthChanges] at most. Without a webhook there are none.
	HealthChanges(ctx context.Context, q HealthChangeQuery) (HealthChangePage, error)
	// Vitals returns what is kept of an account's attempts and of what waits. How much
	// it looks at does not grow with what the account has.
	Vitals(ctx context.Context, accountID string, now time.Time) (Vitals, error)
	// Minutes returns an account's tally at the end of the minute before the first, and
	// then of each minute up to the last at which something had been counted in it, in
	// order. Minutes of more than 24 hours ago may be left out, so that what was
	// counted in them is told by a later one.
	Minutes(ctx context.Context, accountID string, first, last int64) ([]MinuteTally, error)
}

// Feed tells an account's events in order of acceptance.
type Feed interface {
	// Events returns the events that q asks for, in order of Seq. What it returns is
	// durable. No event is accepted later with a Seq that is not greater than those
	// that it returned.
	Events(ctx context.Context, q FeedQuery) (FeedPage, error)
}

// Replays send again what has ended.
type Replays interface {
	// Replay makes a delivery that has ended PENDING again, due now, for the
	// account's present webhook. Its attempts stay. [ErrNotFound]: the account has
	// no such delivery; [ErrConflict]: it is PENDING; [ErrNoWebhook];
	// [ErrDamaged]: what was accepted cannot be sent any more.
	Replay(ctx context.Context, accountID, eventID string, now time.Time) error
	// StartReplay begins a bulk replay, of which all up to StartedAt is given.
	// [ErrNotFound]: there is no such account; [ErrNoWebhook]; [ErrConflict]: one of
	// the account goes on. It ends with the account's webhook, or by [Upkeep].
	StartReplay(ctx context.Context, r BulkReplay) error
	// BulkReplay returns one as it stands, or [ErrNotFound].
	BulkReplay(ctx context.Context, accountID, id string) (BulkReplay, error)
	// BulkReplays lists an account's, newest first.
	BulkReplays(ctx context.Context, accountID string, limit int) ([]BulkReplay, error)
	// StopReplay ends one, if it goes on; [ErrNotFound]. What is PENDING stays so.
	StopReplay(ctx context.Context, accountID, id string, now time.Time) error
	// StartReplayGroup begins a replay of several accounts, of which all up to
	// StartedAt is given. [ErrConflict]: one goes on.
	StartReplayGroup(ctx context.Context, g ReplayGroup) error
	// ReplayGroup returns one as it stands, or [ErrNotFound].
	ReplayGroup(ctx context.Context, id string) (ReplayGroup, error)
	// ReplayGroups lists them, newest first.
	ReplayGroups(ctx context.Context, limit int) ([]ReplayGroup, error)
	// StopReplayGroup ends one, and its bulk replays, if they go on; [ErrNotFound].
	StopReplayGroup(ctx context.Context, id string, now time.Time) error
}

// Queue hands over what is to be attempted, and takes the outcomes.
//
// A PENDING delivery is fresh (never attempted and never put off: DueAt is
// zero) or has been put off until DueAt. Fresh ones are taken in order of Seq,
// the others when they are due. One that is sent again is never fresh.
type Queue interface {
	// Listen names the one listener, before anything is accepted. Without one,
	// nobody is told, and other processes leave no accounts to this one.
	Listen(l Listener)
	// LastAccepted is when the newest delivery was accepted, by the clock of
	// that time. Zero means that there is none.
	LastAccepted(ctx context.Context) (time.Time, error)
	// PendingAccounts lists at most limit of the accounts that have PENDING
	// deliveries, in order of ID, beginning after the given one. Fewer than
	// limit are the last ones.
	PendingAccounts(ctx context.Context, after string, limit int) ([]string, error)
	// Backlog reads one account's webhook and PENDING deliveries, from one
	// snapshot.
	Backlog(ctx context.Context, q BacklogQuery) (Backlog, error)
	// Oldest reads the account's webhook, its PENDING delivery in its first run
	// with the least Seq, as Fresh, and the one that was replayed first, as
	// Replays. Due and NextDue of the answer are empty.
	Oldest(ctx context.Context, accountID string) (Backlog, error)
	// May reports whether an attempt for the account may begin now: the account is
	// this process's, whose lease has not run out. It is asked when an attempt gets
	// its slot and again before its first byte. While it says no, the listener
	// begins nothing and asks again in a moment, unless it is told that the account
	// is Lost. The empty ID asks for the lease alone. It answers at once, without a lock that is held while the listener is
	// told.
	May(accountID string) bool
	// Record writes the outcomes in one commit and in the given order. An
	// outcome for a delivery that is not PENDING any more, or has been replayed
	// since it was read, only adds its attempt. Recording the same outcome twice changes nothing. [ErrFenced]:
	// they are not to be tried again, since others may have attempted as well.
	Record(ctx context.Context, outcomes []Outcome, now time.Time) error
	// RecordHealth writes changes of endpoints' states in one commit, by
	// [HealthChange.Apply], and tells the listener of those that are some. [ErrFenced]
	// as for Record.
	RecordHealth(ctx context.Context, changes []HealthChange) error
}

// Upkeep changes what waits without an attempt, and removes what has had its
// time. Each call is one commit of at most limit deliveries, so that others'
// writes do not wait for long. Whoever gets limit asks again: it is returned
// whenever there may be more.
type Upkeep interface {
	// MakeDue makes deliveries of the account that were put off beyond now due
	// now, and returns how many. The call that leaves none ends [Webhook.MakeDue].
	MakeDue(ctx context.Context, accountID string, now time.Time, limit int) (int, error)
	// Expire gives up (FAILED) the account's PENDING deliveries that were
	// accepted, or replayed last, before the given time, and returns how many.
	Expire(ctx context.Context, accountID string, before, now time.Time, limit int) (int, error)
	// Cancel makes CANCELLED the account's PENDING deliveries that were accepted
	// or replayed for a webhook that has been deleted, and returns how many.
	Cancel(ctx context.Context, accountID string, now time.Time, limit int) (int, error)
	// SuspendWebhook makes the webhook SUSPENDED if it is still as the caller
	// saw it (same ID and Version); otherwise it does nothing. As for a change
	// by [Webhooks], the listener is told.
	SuspendWebhook(ctx context.Context, seen Webhook, now time.Time) error
	// RunningReplays lists at most limit of the accounts with a bulk replay that goes
	// on, in order of ID, beginning after the given one.
	RunningReplays(ctx context.Context, after string, limit int) ([]string, error)
	// ContinueReplay takes the account's bulk replay one step further, if there is
	// one: it counts a bounded number, or makes up to limit of what it lists PENDING
	// again, together with its progress, or ends it when all have been attempted. It
	// does nothing, and says so, while as many as limit have not been attempted.
	ContinueReplay(ctx context.Context, accountID string, now time.Time, limit int) (worked bool, err error)
	// ContinueReplayGroup takes the replay of several accounts that goes on one step
	// further, if there is one: it begins the bulk replays of up to limit accounts, or
	// ends it. running: it goes on.
	ContinueReplayGroup(ctx context.Context, now time.Time, limit int) (running, worked bool, err error)
	// Notify has the platform told of deliveries that were given up since
	// [NoticeDelay] ago or longer, once for an account, and of endpoints that have
	// failed for so long. It returns of how many.
	Notify(ctx context.Context, now time.Time, limit int) (int, error)
	// Sweep removes deliveries, with their attempts, that were finished longer
	// than retention ago, oldest first, and returns how many; bulk replays that
	// ended so long ago; and the old secrets that do not sign any more.
	Sweep(ctx context.Context, now time.Time, retention time.Duration, limit int) (int, error)
}

// Settings keep what the service generated at its first start.
type Settings interface {
	// Setting returns [ErrNotFound] when the name was never set.
	Setting(ctx context.Context, name string) ([]byte, error)
	// PutSetting sets it, in place of an earlier value.
	PutSetting(ctx context.Context, name string, value []byte) error
}

// Readiness tells whether the store can write.
type Readiness interface {
	// Ready reports whether the store can write durably. It writes to find out.
	// Nil means ready. [ErrDamaged]: damage has been met since the start.
	Ready(ctx context.Context) error
}

// Statistics count, for metrics.
type Statistics interface {
	// Stats are of some moment not long ago, and cost little to read.
	Stats() Stats
}

// Listener is told what has been committed of the accounts that this process
// attempts for: all, unless several processes share the store. Of what this process
// writes it is told in the order of the commits, and before the call that wrote it
// returns. Its methods must not block and must not call the store, but for
// [Queue.May].
type Listener interface {
	// Accepted hands over fresh deliveries, with the webhook of each as it is by
	// now. Those of one source, which is a process that accepts, come in order of
	// Seq, and so do those of one message. Each is handed over once. [Backlog] may
	// show it before only if no outcome of it can be recorded until then.
	Accepted(batch []Acceptance)
	// Replayed says which deliveries of an account are due again, with its webhook
	// as it is by now.
	Replayed(w *Webhook, seqs []int64)
	// ReplayStarted says that there is another bulk replay.
	ReplayStarted()
	// WebhookChanged gives the account's present webhook. Nil means that it has
	// none.
	WebhookChanged(accountID string, w *Webhook)
	// HealthChanged gives changes of endpoints' states, those that a PUT or a
	// suspension made among them.
	HealthChanged(changes []HealthChange)
	// Uncertain says that a commit failed that would have been told of these
	// accounts, and may have happened nevertheless. The listener must read them
	// anew.
	Uncertain(accounts []string)
	// Gained says that more accounts are this process's. What they have PENDING is
	// found by [Queue.PendingAccounts]; what is accepted from now on is handed over.
	// A store of one process calls neither this nor the next two.
	Gained()
	// Freed gives accounts of which another process had something under way while those
	// around them were gained. As with Gained, what they have PENDING is to be read.
	Freed(accounts []string)
	// Lost says which accounts are not this process's any more. When it returns, no
	// attempt for them begins. left lists those of which an attempt that had begun has
	// not ended, or its outcome is neither recorded nor refused; they become fewer
	// only. settled is closed once there are none. Another process must not attempt
	// for them while they are left, unless this one is fenced. An account that is
	// gained again before is not left any more.
	Lost(lost func(accountID string) bool) (settled <-chan struct{}, left func() []string)
}

// Acceptance is a delivery just accepted and the webhook that it goes to,
// which must not be changed.
type Acceptance struct {
	Delivery Delivery
	Webhook  *Webhook
	Foreign  bool // another process has accepted it
	// Read is when Delivery.Behind was read; zero: with the commit. What has been put
	// off since is fresh in it.
	Read time.Time
}

// Stats count what the store holds.
type Stats struct {
	Deliveries map[State]int64 // held, by state
	Damaged    int             // rows, met since the start
	Disk       *Disk           // where they are; nil: on none, or on another machine's
}

// Disk is the disk that a store is on.
type Disk struct {
	Bytes    int64     // of its files
	Free     int64     // which are left for these; negative: not known
	BackedUp time.Time // by "recapito backup", the last time; zero: never
}

// Commit describes one group commit, for metrics.
type Commit struct {
	Events   int           // accepted in it
	Outcomes int           // recorded in it
	Duration time.Duration // from BEGIN until it was durable
	Err      error         // not nil: it failed
}
