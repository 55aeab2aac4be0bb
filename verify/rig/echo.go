package rig

import (
	"encoding/json"
	"net"
	"net/http"
	"os"

	"github.com/labstack/echo/v4"
)

// Echo is the bare framework below the service. The operations are compared
// with it.
type Echo struct {
	*Child
	URL string
}

// StartEcho starts it in a process of its own.
func StartEcho() (*Echo, error) {
	e := &Echo{}
	var err error
	e.Child, err = spawn("echo", &e.URL)
	return e, err
}

func echoMain() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	e := echo.New()
	e.Any("/*", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
	if err := json.NewEncoder(os.Stdout).Encode("http://" + l.Addr().String()); err != nil {
		return err
	}
	return http.Serve(l, e)
}
