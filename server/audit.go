package server

import (
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"
)

// audit logs what the platform has changed for an account, or may have.
func (s *server) audit(o *operation) []echo.MiddlewareFunc {
	if o.route.Method == http.MethodGet {
		return nil
	}
	return []echo.MiddlewareFunc{func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			err := next(c)
			ctx := c.Request().Context()
			if !byPlatform(ctx) || err != nil && refusalFor(err).status < http.StatusInternalServerError {
				return err
			}
			outcome := "done"
			if err != nil {
				outcome = "unknown"
			}
			s.Logger.LogAttrs(ctx, slog.LevelInfo, "the platform has acted for an account",
				slog.String("account", accountOf(ctx)), slog.String("operation", o.id), slog.String("outcome", outcome),
				slog.String("request_id", c.Response().Header().Get(requestIDHeader)))
			return err
		}
	}}
}
