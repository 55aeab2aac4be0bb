package server

import (
	"context"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/server/console"
	"github.com/recapito/recapito/store"
)

// routeConsole serves the console below the base path.
func (s *server) routeConsole(e *echo.Echo) error {
	all, err := console.Handlers(s.BasePath, s.ConsoleAncestors)
	if err != nil {
		return err
	}
	s.routeFiles(e, all, "console")
	return nil
}

// linkMinutes is how long a link into the console lasts that says nothing of it.
const linkMinutes = 15

// CreateConsoleLink makes a key that ends by itself, and shows it where a browser keeps it
// to itself.
func (s *server) CreateConsoleLink(ctx context.Context, r gen.CreateConsoleLinkRequestObject) (gen.CreateConsoleLinkResponseObject, error) {
	minutes := int32(linkMinutes)
	if r.Body != nil && r.Body.Minutes != nil {
		minutes = *r.Body.Minutes
	}
	key, now := store.NewKey(), s.Now()
	k := store.APIKey{
		AccountID: r.AccountID, ID: store.NewID("key_"), Hash: store.HashKey(key), Hint: key[len(key)-hintSize:],
		CreatedAt: now, ExpiresAt: now.Add(time.Duration(minutes) * time.Minute),
	}
	note(ctx, "key", k.ID)
	if err := s.Store.AddAPIKey(ctx, k); err != nil {
		return nil, when(err, store.ErrNotFound, errNoAccount)
	}
	return gen.CreateConsoleLink201JSONResponse{Path: s.BasePath + "/console#/status?key=" + key, KeyID: k.ID, ExpiresAt: showTime(k.ExpiresAt)}, nil
}
