package server

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

// The challenges of RFC 9110, section 11.6.1. A missing, malformed or unknown
// credential gets the same answer.
var (
	errNoAPIKey = &refusal{
		status: http.StatusUnauthorized, code: gen.ProblemCodeAPIKEYREQUIRED, detail: "A valid API key is required.",
		header: map[string]string{"WWW-Authenticate": `ApiKey realm="recapito"`},
	}
	errNoPlatformKey = &refusal{
		status: http.StatusUnauthorized, code: gen.ProblemCodePLATFORMKEYREQUIRED, detail: "The platform key is required.",
		header: map[string]string{"WWW-Authenticate": `Bearer realm="recapito"`},
	}
)

// authentication returns the check that the operation's security asks for. It
// fails unless that is one of two: no operation is open to all, and each of an
// account's is open to the platform for it.
func (s *server) authentication(op *openapi3.Operation) (echo.MiddlewareFunc, error) {
	var ways []string
	if op.Security != nil {
		for _, way := range *op.Security {
			ways = append(ways, strings.Join(slices.Sorted(maps.Keys(way)), " and "))
		}
	}
	switch security := strings.Join(ways, " or "); security {
	case "AccountKey or AccountOfPlatform and PlatformKey":
		return before(s.noting(s.authenticateAccount)), nil
	case "PlatformKey":
		return before(s.noting(s.authenticatePlatform)), nil
	default:
		return nil, fmt.Errorf("its security is %q: neither an account's nor the platform's", security)
	}
}

// noting tells OnKey of a request that passes the check.
func (s *server) noting(check func(echo.Context) error) func(echo.Context) error {
	return func(c echo.Context) error {
		err := check(c)
		if err == nil {
			s.OnKey(c.Request().Context())
		}
		return err
	}
}

// before runs a check in front of a handler.
func before(check func(echo.Context) error) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if err := check(c); err != nil {
				return err
			}
			return next(c)
		}
	}
}

type accountContext struct{}

// accountOf is the account whose API key the request carries, or for which the
// platform makes it.
func accountOf(ctx context.Context) string {
	id, _ := ctx.Value(accountContext{}).(string)
	return id
}

type platformContext struct{}

// byPlatform reports whether the platform makes an account's request.
func byPlatform(ctx context.Context) bool { return ctx.Value(platformContext{}) != nil }

func (s *server) authenticateAccount(c echo.Context) error {
	r := c.Request()
	if ids := r.Header.Values(accountHeader); len(ids) > 0 {
		return s.authenticateForAccount(c, ids)
	}
	keys := r.Header.Values("X-API-Key")
	if len(keys) != 1 || store.CheckKey(keys[0]) != nil {
		return errNoAPIKey
	}
	k, err := s.Store.APIKeyByHash(r.Context(), store.HashKey(keys[0]))
	if errors.Is(err, store.ErrNotFound) || err == nil && k.Expired(s.Now()) {
		return errNoAPIKey
	}
	if err != nil {
		return fmt.Errorf("look up the API key: %w", err)
	}
	c.SetRequest(r.WithContext(context.WithValue(r.Context(), accountContext{}, k.AccountID)))
	return nil
}

// accountHeader names the account for which the platform makes a request.
const accountHeader = "X-Account-Id"

// authenticateForAccount takes the platform key in place of an API key. An account
// that does not exist is a wrong credential.
func (s *server) authenticateForAccount(c echo.Context, ids []string) error {
	r := c.Request()
	if len(ids) != 1 || len(r.Header.Values("X-API-Key")) > 0 || s.authenticatePlatform(c) != nil {
		return errNoAPIKey
	}
	a, err := s.Store.Account(r.Context(), ids[0])
	if errors.Is(err, store.ErrNotFound) {
		return errNoAPIKey
	}
	if err != nil {
		return fmt.Errorf("look up the account: %w", err)
	}
	ctx := context.WithValue(r.Context(), accountContext{}, a.ID)
	c.SetRequest(r.WithContext(context.WithValue(ctx, platformContext{}, true)))
	return nil
}

func (s *server) authenticatePlatform(c echo.Context) error {
	credentials := c.Request().Header.Values("Authorization")
	if len(credentials) != 1 {
		return errNoPlatformKey
	}
	scheme, token, _ := strings.Cut(credentials[0], " ")
	hash := store.HashKey(strings.TrimLeft(token, " ")) // one space or more: RFC 9110, section 11.4
	same := 0
	for _, key := range s.PlatformKeys() {
		same |= subtle.ConstantTimeCompare(hash[:], key[:])
	}
	if !strings.EqualFold(scheme, "Bearer") || same == 0 {
		return errNoPlatformKey
	}
	return nil
}
