package server

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

const hintSize = 4

var (
	errNoAccount = &refusal{status: http.StatusNotFound, code: gen.ProblemCodeACCOUNTNOTFOUND, detail: "There is no such account."}
	errNoKey     = &refusal{status: http.StatusNotFound, code: gen.ProblemCodeAPIKEYNOTFOUND, detail: "There is no such API key."}
	errErasing   = unavailable("The earlier account of this id is still being erased. Try again after Retry-After.")
	errKeyExists = &refusal{status: http.StatusConflict, code: gen.ProblemCodeAPIKEYEXISTS, detail: "A key with this digest exists already."}
)

func (s *server) PutAccount(ctx context.Context, r gen.PutAccountRequestObject) (gen.PutAccountResponseObject, error) {
	a, created, err := s.Store.PutAccount(ctx, r.AccountID, s.Now())
	if err != nil {
		return nil, when(err, store.ErrErasing, errErasing)
	}
	if !created {
		unchanged(ctx)
		return gen.PutAccount200JSONResponse(showAccount(a)), nil
	}
	return gen.PutAccount201JSONResponse{
		Body:    showAccount(a),
		Headers: gen.PutAccount201ResponseHeaders{Location: s.accountPath(a.ID)},
	}, nil
}

func (s *server) GetAccount(ctx context.Context, r gen.GetAccountRequestObject) (gen.GetAccountResponseObject, error) {
	a, err := s.Store.Account(ctx, r.AccountID)
	if err != nil {
		return nil, when(err, store.ErrNotFound, errNoAccount)
	}
	return gen.GetAccount200JSONResponse(showAccount(a)), nil
}

func (s *server) ListAccounts(ctx context.Context, r gen.ListAccountsRequestObject) (gen.ListAccountsResponseObject, error) {
	q := store.AccountQuery{Prefix: value(r.Params.IDPrefix), Limit: limitOf(r.Params.Limit), Now: s.Now()}
	for _, state := range value(r.Params.State) {
		q.States = append(q.States, store.HealthState(state))
	}
	if cursor := r.Params.Cursor; cursor != nil {
		var err error
		if q.After, err = s.cursors.toAccounts(*cursor); err != nil {
			return nil, err
		}
	}
	done, err := s.listings.take(ctx, store.Operations)
	if err != nil {
		return nil, err
	}
	defer done()
	page, err := s.Store.Accounts(ctx, q)
	if err != nil {
		return nil, err
	}
	out := gen.ListAccounts200JSONResponse{Accounts: make([]gen.AccountHealth, 0, len(page.Accounts)), NextCursor: s.cursors.ofAccounts(page.Next)}
	for i := range page.Accounts {
		out.Accounts = append(out.Accounts, showAccountHealth(&page.Accounts[i]))
	}
	return out, nil
}

func showAccountHealth(h *store.AccountHealth) gen.AccountHealth {
	out := gen.AccountHealth{
		ID: h.ID, CreatedAt: showTime(h.CreatedAt), State: (*gen.EndpointState)(optional(string(h.State))), Since: showOptionalTime(h.Since),
		Pending: h.Pending, ConsecutiveFailures: h.InARow, LastFailure: showLastFailure(h.LastFailure),
	}
	if u, err := url.Parse(h.CallbackURL); err == nil {
		out.CallbackHost = optional(u.Host)
	}
	if h.Pending > 0 {
		out.OldestPendingAt = showOptionalTime(h.OldestPending)
	}
	if out.LastFailure != nil {
		out.LastFailure.Response = nil // the account's health has it
	}
	return out
}

func (s *server) DeleteAccount(ctx context.Context, r gen.DeleteAccountRequestObject) (gen.DeleteAccountResponseObject, error) {
	if err := s.Store.DeleteAccount(ctx, r.AccountID); err != nil {
		return nil, when(err, store.ErrNotFound, errNoAccount)
	}
	return gen.DeleteAccount204Response{}, nil
}

func (s *server) ListAPIKeys(ctx context.Context, r gen.ListAPIKeysRequestObject) (gen.ListAPIKeysResponseObject, error) {
	keys, err := s.Store.APIKeys(ctx, r.AccountID)
	if err != nil {
		return nil, when(err, store.ErrNotFound, errNoAccount)
	}
	out := gen.ListAPIKeys200JSONResponse{APIKeys: make([]gen.APIKey, 0, len(keys))}
	for _, k := range keys {
		if !k.Expired(s.Now()) {
			out.APIKeys = append(out.APIKeys, gen.APIKey{ID: k.ID, Hint: optional(k.Hint), CreatedAt: showTime(k.CreatedAt), ExpiresAt: showOptionalTime(k.ExpiresAt)})
		}
	}
	return out, nil
}

func (s *server) CreateAPIKey(ctx context.Context, r gen.CreateAPIKeyRequestObject) (gen.CreateAPIKeyResponseObject, error) {
	k := store.APIKey{AccountID: r.AccountID, ID: store.NewID("key_"), CreatedAt: s.Now()}
	var key string
	if r.Body != nil && r.Body.Sha256 != nil {
		if _, err := hex.Decode(k.Hash[:], []byte(*r.Body.Sha256)); err != nil {
			return nil, fmt.Errorf("decode a validated digest: %w", err)
		}
	} else {
		key = store.NewKey()
		k.Hash, k.Hint = store.HashKey(key), key[len(key)-hintSize:]
	}
	note(ctx, "key", k.ID)
	if err := s.Store.AddAPIKey(ctx, k); err != nil {
		err = when(err, store.ErrConflict, errKeyExists)
		return nil, when(err, store.ErrNotFound, errNoAccount)
	}
	return gen.CreateAPIKey201JSONResponse{
		Body:    gen.APIKeyCreated{ID: k.ID, Hint: optional(k.Hint), CreatedAt: showTime(k.CreatedAt), Key: optional(key)},
		Headers: gen.CreateAPIKey201ResponseHeaders{Location: s.accountPath(k.AccountID) + "/api-keys/" + k.ID},
	}, nil
}

func (s *server) DeleteAPIKey(ctx context.Context, r gen.DeleteAPIKeyRequestObject) (gen.DeleteAPIKeyResponseObject, error) {
	note(ctx, "key", r.KeyID)
	if err := s.Store.RevokeAPIKey(ctx, r.AccountID, r.KeyID); err != nil {
		return nil, when(err, store.ErrNotFound, errNoKey)
	}
	return gen.DeleteAPIKey204Response{}, nil
}

// accountPath needs no escaping: a path segment may hold every character of an
// account's id.
func (s *server) accountPath(id string) string { return s.BasePath + "/accounts/" + id }

func showAccount(a store.Account) gen.Account {
	return gen.Account{ID: a.ID, CreatedAt: showTime(a.CreatedAt)}
}

// optional shows the empty string as absent.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
