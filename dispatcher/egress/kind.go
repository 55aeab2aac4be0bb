package egress

import (
	"context"
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
	DNSFailed                          // the name did not resolve, or not in time
	ConnectFailed                      // no TCP connection, or not in time
	DestinationRefused                 // an address that is not public
	TLSFailed                          // no TLS session, or not in time
	Timeout                            // no complete answer before the deadline
	ConnectionLost                     // the connection ended before an answer
	ResponseInvalid                    // the answer was not HTTP/1.1, or too large
	Withdrawn                          // Request.Proceed said no; nothing was sent
	Interrupted                        // the context was cancelled, and what was sent is not known; or errNoTurn
	Internal                           // none of Post's: this process failed
	Exhausted                          // this process could open no file; nothing was sent
	NoAuthorities                      // this machine knows no certificate authority; nothing was sent
	NoWayOut                           // the operator's proxy or source address failed; nothing was sent
)

var kindWords = map[Kind]string{
	Acknowledged: "ACKNOWLEDGED", HTTPStatus: "HTTP_STATUS", DNSFailed: "DNS_FAILED",
	ConnectFailed: "CONNECT_FAILED", DestinationRefused: "DESTINATION_REFUSED", TLSFailed: "TLS_FAILED",
	Timeout: "TIMEOUT", ConnectionLost: "CONNECTION_LOST", ResponseInvalid: "RESPONSE_INVALID",
	Withdrawn: "WITHDRAWN", Interrupted: "INTERRUPTED", Exhausted: "EXHAUSTED",
	Internal: "INTERNAL_ERROR", NoAuthorities: "INTERNAL_ERROR", NoWayOut: "INTERNAL_ERROR",
}

// String is the word of the contract (the error kinds of openapi.yaml).
func (k Kind) String() string { return kindWords[k] }

// phase is a part of an attempt; errors are told apart by the one in which they
// come.
type phase int

const (
	connecting phase = iota + 1 // the look-up of the name included
	securing                    // the TLS handshake
	sending
	waiting   // for the first byte of the answer
	answering // its status line and header
)

// failure is an error of a phase.
type failure struct {
	phase phase
	// certificate: see conn.
	certificate Detail
	err         error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// failed makes the result of an attempt that has no answer.
func failed(ctx context.Context, err error) Result {
	kind, detail := classify(ctx, err)
	_, told := errors.AsType[*toldError](err)
	return Result{Kind: kind, Detail: detail, ByProxy: told, Err: err}
}

func classify(ctx context.Context, err error) (Kind, Detail) {
	var refused *refusedError
	var way *wayError
	var told *toldError
	var in *failure
	switch {
	case errors.As(err, &refused):
		return DestinationRefused, refused.detail
	case errors.Is(ctx.Err(), context.Canceled), errors.Is(err, errNoTurn):
		return Interrupted, ""
	case isExhausted(err):
		return Exhausted, ""
	case errors.As(err, &way):
		return NoWayOut, ""
	case errors.As(err, &told):
		return told.kind, told.detail
	case !errors.As(err, &in):
		return ResponseInvalid, ""
	}
	switch in.phase {
	case connecting:
		if dns, ok := errors.AsType[*net.DNSError](err); ok {
			return DNSFailed, dnsDetail(dns)
		}
		return ConnectFailed, connectDetail(err)
	case securing:
		if _, ok := errors.AsType[x509.SystemRootsError](err); ok {
			return NoAuthorities, ""
		}
		return TLSFailed, tlsDetail(in)
	}
	return exchangeFailure(in)
}

// exchangeFailure is for what fails once there is a connection.
func exchangeFailure(in *failure) (Kind, Detail) {
	var op *net.OpError
	lost := errors.Is(in, io.EOF) || errors.Is(in, io.ErrUnexpectedEOF) || errors.As(in, &op)
	switch {
	case errors.Is(in, errNotHTTP):
		return ResponseInvalid, NotHTTP
	case errors.Is(in, errBadStatus):
		return ResponseInvalid, StatusInvalid
	case errors.Is(in, errTooLarge):
		return ResponseInvalid, HeaderTooLarge
	case isTimeout(in) && in.phase == sending:
		return Timeout, RequestNotRead
	case isTimeout(in) && in.phase == waiting:
		return Timeout, NoAnswer
	case isTimeout(in):
		return Timeout, AnswerUnfinished
	case says(in, "tls: "):
		return TLSFailed, tlsDetail(in) // TLS 1.3 refuses some handshakes only now
	case lost && in.phase == answering:
		return ConnectionLost, AnswerUnfinished
	case errors.Is(in, syscall.ECONNRESET), errors.Is(in, syscall.EPIPE):
		return ConnectionLost, ConnectionReset
	case lost:
		return ConnectionLost, ConnectionClosed
	}
	return ResponseInvalid, ""
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
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
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
