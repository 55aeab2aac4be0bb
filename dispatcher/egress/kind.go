package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
)

// Kind is how a request ended, in terms that can be told to an account.
type Kind int

const (
	Acknowledged       Kind = iota + 1 // a 2xx status line, and its header's end
	HTTPStatus                         // the same with another status
	DNSFailed                          // the name did not resolve
	ConnectFailed                      // no TCP connection
	DestinationRefused                 // an address that is not public
	TLSFailed                          // no TLS session
	Timeout                            // the deadline passed
	ConnectionLost                     // the connection ended before an answer
	ResponseInvalid                    // the answer was not HTTP/1.1, or too large
	Withdrawn                          // Request.Proceed said no; nothing was sent
	Interrupted                        // the context was cancelled, and what was sent is not known; or errNoTurn
	Exhausted                          // this process could open no file; nothing was sent
)

var kindWords = map[Kind]string{
	Acknowledged: "ACKNOWLEDGED", HTTPStatus: "HTTP_STATUS", DNSFailed: "DNS_FAILED",
	ConnectFailed: "CONNECT_FAILED", DestinationRefused: "DESTINATION_REFUSED", TLSFailed: "TLS_FAILED",
	Timeout: "TIMEOUT", ConnectionLost: "CONNECTION_LOST", ResponseInvalid: "RESPONSE_INVALID",
	Withdrawn: "WITHDRAWN", Interrupted: "INTERRUPTED", Exhausted: "EXHAUSTED",
}

// String is the word of the contract (the error kinds of openapi.yaml).
func (k Kind) String() string { return kindWords[k] }

// classify finds the kind of an error before there is an answer.
func classify(ctx context.Context, err error) Kind {
	var refused *refusedError
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &refused):
		return DestinationRefused
	case errors.Is(ctx.Err(), context.Canceled), errors.Is(err, errNoTurn):
		return Interrupted
	case isExhausted(err):
		return Exhausted
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return Timeout
	case errors.As(err, &dns):
		return DNSFailed
	case isTLS(err):
		return TLSFailed
	case errors.As(err, &op) && op.Op == "dial":
		return ConnectFailed
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &op),
		errors.Is(err, syscall.ECONNRESET):
		return ConnectionLost
	}
	return ResponseInvalid
}

// isExhausted: the resolver keeps only the words of the error. They are ours.
func isExhausted(err error) bool {
	var dns *net.DNSError
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, errno) || errors.As(err, &dns) && strings.HasSuffix(dns.Err, errno.Error()) {
			return true
		}
	}
	return false
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// isTLS: crypto/tls has types for some of its errors only.
func isTLS(err error) bool {
	var verification *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var alert tls.AlertError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verification) || errors.As(err, &header) || errors.As(err, &alert) ||
		errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &invalid) ||
		says(err, "tls: ", "x509: ")
}

// says reports whether err, or one that it wraps, begins with one of the words.
// Only the beginning is the library's own: the rest may quote the receiver.
func says(err error, words ...string) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		for _, w := range words {
			if strings.HasPrefix(err.Error(), w) {
				return true
			}
		}
	}
	return false
}
