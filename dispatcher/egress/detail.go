package egress

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"syscall"
	"time"
)

// Detail says more of a failure's [Kind], in the words of the contract. Empty
// means that no more is known. docs/receiving.md says what each means and what
// to do.
type Detail string

const (
	// Of DNSFailed.
	NameNotFound     Detail = "NAME_NOT_FOUND" // no such name, or none with an address
	DNSTimeout       Detail = "DNS_TIMEOUT"
	DNSServerFailure Detail = "DNS_SERVER_FAILURE"

	// Of ConnectFailed.
	ConnectionRefused Detail = "CONNECTION_REFUSED"
	ConnectTimeout    Detail = "CONNECT_TIMEOUT"
	Unreachable       Detail = "UNREACHABLE"

	// Of DestinationRefused.
	AddressNotPublic Detail = "ADDRESS_NOT_PUBLIC"
	NetworkDenied    Detail = "NETWORK_DENIED"   // by the operator
	PortNotAllowed   Detail = "PORT_NOT_ALLOWED" // by the operator

	// Of TLSFailed.
	CertificateExpired          Detail = "CERTIFICATE_EXPIRED" // or one of its chain
	CertificateNotYetValid      Detail = "CERTIFICATE_NOT_YET_VALID"
	CertificateOtherName        Detail = "CERTIFICATE_OTHER_NAME"
	CertificateSelfSigned       Detail = "CERTIFICATE_SELF_SIGNED"
	CertificateChainIncomplete  Detail = "CERTIFICATE_CHAIN_INCOMPLETE" // it came without its issuer's
	CertificateUnknownAuthority Detail = "CERTIFICATE_UNKNOWN_AUTHORITY"
	CertificateInvalid          Detail = "CERTIFICATE_INVALID"         // in any other way
	ClientCertificateRequired   Detail = "CLIENT_CERTIFICATE_REQUIRED" // none was shown
	ClientCertificateRefused    Detail = "CLIENT_CERTIFICATE_REFUSED"  // the operator's was shown
	TLSVersion                  Detail = "TLS_VERSION"                 // none in common
	TLSCipher                   Detail = "TLS_CIPHER"                  // no suite or group in common
	TLSServerName               Detail = "TLS_SERVER_NAME"             // the server does not know the host
	TLSProtocol                 Detail = "TLS_PROTOCOL"                // the server does not speak HTTP/1.1
	PlainHTTP                   Detail = "PLAIN_HTTP"                  // the server speaks HTTP without TLS
	NotTLS                      Detail = "NOT_TLS"
	HandshakeTimeout            Detail = "HANDSHAKE_TIMEOUT"
	HandshakeClosed             Detail = "HANDSHAKE_CLOSED"

	// Of Timeout and ConnectionLost.
	RequestNotRead   Detail = "REQUEST_NOT_READ"
	NoAnswer         Detail = "NO_ANSWER"
	AnswerUnfinished Detail = "ANSWER_UNFINISHED" // it ended before its header did
	ConnectionClosed Detail = "CONNECTION_CLOSED" // before a byte of an answer
	ConnectionReset  Detail = "CONNECTION_RESET"  // the same

	// Of ResponseInvalid.
	NotHTTP          Detail = "NOT_HTTP"
	StatusInvalid    Detail = "STATUS_INVALID" // not a number from 100 to 999
	HeaderTooLarge   Detail = "HEADER_TOO_LARGE"
	ProtocolSwitched Detail = "PROTOCOL_SWITCHED"
)

func dnsDetail(err *net.DNSError) Detail {
	switch {
	case err.IsNotFound:
		return NameNotFound
	case err.IsTimeout:
		return DNSTimeout
	}
	return DNSServerFailure
}

func connectDetail(err error) Detail {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return ConnectionRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return Unreachable
	case isTimeout(err):
		return ConnectTimeout
	}
	return ""
}

// tlsDetail tells what crypto/tls, crypto/x509 and the other side say.
func tlsDetail(in *failure) Detail {
	var header tls.RecordHeaderError
	var alert *net.OpError
	switch {
	case isTimeout(in):
		return HandshakeTimeout
	case errors.As(in, &header):
		return notTLS(header.RecordHeader)
	case errors.As(in, &alert) && alert.Op == "remote error":
		return alertDetail(alert.Err, in.certificate)
	case says(in, "tls: server selected unsupported protocol version"):
		return TLSVersion
	case says(in, "tls: server chose an unconfigured cipher suite", "tls: server selected unsupported group"):
		return TLSCipher
	case says(in, "tls: server selected unadvertised ALPN protocol"):
		return TLSProtocol
	case says(in, "tls: "):
		return certificateDetail(in)
	}
	return HandshakeClosed
}

// notTLS is for what came in the place of TLS, by its first bytes. Some servers
// answer what is no HTTP to them with a page that has no header.
func notTLS(first [5]byte) Detail {
	switch strings.ToUpper(string(first[:])) {
	case "HTTP/", "<!DOC", "<HTML":
		return PlainHTTP
	}
	return NotTLS
}

// alerts are those of RFC 8446 §6 that help the account, in the words of
// crypto/tls, which does not export their numbers.
var alerts = map[string]Detail{
	"tls: certificate required":           ClientCertificateRequired,
	"tls: protocol version not supported": TLSVersion,
	"tls: handshake failure":              TLSCipher,
	"tls: insufficient security level":    TLSCipher,
	"tls: unrecognized name":              TLSServerName,
	"tls: no application protocol":        TLSProtocol,
}

// alertDetail is the detail of an alert of the other side. If that side asked
// for a certificate, the detail concerns the certificate.
func alertDetail(alert error, certificate Detail) Detail {
	return cmp.Or(certificate, alerts[alert.Error()])
}

// certificateDetail is the detail of a fault of the other side's certificate.
func certificateDetail(err error) Detail {
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var verification *tls.CertificateVerificationError
	verified := errors.As(err, &verification)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return outOfDate(invalid.Cert)
	case errors.As(err, &name):
		return CertificateOtherName
	case errors.As(err, &unknown) && verified:
		return chainDetail(verification.UnverifiedCertificates)
	case verified, says(err, "tls: failed to parse certificate"):
		return CertificateInvalid
	}
	return ""
}

// outOfDate is empty for a certificate that is valid now.
func outOfDate(c *x509.Certificate) Detail {
	switch now := time.Now(); {
	case now.Before(c.NotBefore):
		return CertificateNotYetValid
	case now.After(c.NotAfter):
		return CertificateExpired
	}
	return ""
}

// chainDetail tells why a chain, the server's own certificate first, leads to no
// known authority.
func chainDetail(chain []*x509.Certificate) Detail {
	if selfIssued(chain[0]) {
		return CertificateSelfSigned
	}
	top := chain[0]
	for _, c := range chain[1:] {
		if !bytes.Equal(c.RawSubject, top.RawIssuer) {
			continue
		}
		if detail := outOfDate(c); detail != "" {
			return detail
		}
		top = c
	}
	if top == chain[0] {
		return CertificateChainIncomplete
	}
	return CertificateUnknownAuthority
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }
