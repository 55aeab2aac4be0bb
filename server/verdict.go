package server

import (
	"crypto/tls"
	"crypto/x509"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/recapito/recapito/gen"
	"github.com/recapito/recapito/store"
)

// ruling is what is said of a test.
type ruling struct {
	verdict gen.Verdict
	advice  string // one sentence
}

// The ways in which a test can end that have no word of their own.
const (
	inTime  = "2xx"
	expires = "2xx, and the certificate expires within 14 days"
	late    = "after the deadline"
)

// expiresSoon is how long before its end a certificate is spoken of.
const expiresSoon = 14 * 24 * time.Hour

// rulings are by the way in which a test ended: the error's detail, the status or
// its class, or the error. docs/receiving.md has the same table.
var rulings = map[string]ruling{
	inTime:  {gen.VerdictACKNOWLEDGED, "Your endpoint works: nothing is to be done."},
	expires: {gen.VerdictCERTIFICATEEXPIRESSOON, "Your endpoint works, but its certificate expires within 14 days: renew it."},

	"NAME_NOT_FOUND":     {gen.VerdictNAMENOTRESOLVED, "Your host's name does not exist, or has no address: correct the URL, or add an A or AAAA record."},
	"DNS_TIMEOUT":        {gen.VerdictNAMENOTRESOLVED, "The name servers did not answer in time: check those of your domain; if they work, the fault is ours, and passes."},
	"DNS_SERVER_FAILURE": {gen.VerdictNAMENOTRESOLVED, "The name servers answered with a failure: check the delegation and DNSSEC of your domain; if they are right, the fault is ours, and passes."},
	"DNS_FAILED":         {gen.VerdictNAMENOTRESOLVED, "Your host's name was not resolved: check the URL, and the name servers of your domain."},

	"CONNECTION_REFUSED": {gen.VerdictNOTREACHABLE, "Nothing listens at the port: start your server, or correct the port in the URL."},
	"CONNECT_TIMEOUT":    {gen.VerdictNOTREACHABLE, "Your host did not answer within 5 s: it is down, or a firewall drops what Recapito sends."},
	"UNREACHABLE":        {gen.VerdictNOTREACHABLE, "There is no route to your host: check its address; if it has IPv6 addresses alone, add an IPv4 address."},
	"CONNECT_FAILED":     {gen.VerdictNOTREACHABLE, "No connection was made: check that your host is up and takes connections from the Internet."},

	"ADDRESS_NOT_PUBLIC":  {gen.VerdictDESTINATIONREFUSED, "Your host's name resolves to a private or reserved address: use a public one."},
	"NETWORK_DENIED":      {gen.VerdictDESTINATIONREFUSED, "The operator has closed the network of your host's address: use another address, or ask the operator."},
	"PORT_NOT_ALLOWED":    {gen.VerdictDESTINATIONREFUSED, "The operator has not opened the port in your URL: use another port, such as 443."},
	"DESTINATION_REFUSED": {gen.VerdictDESTINATIONREFUSED, "Callbacks do not go to this address: use another, or ask the operator."},

	"CERTIFICATE_EXPIRED":           {gen.VerdictCERTIFICATEREFUSED, "Your certificate, or one of its chain, has expired: renew it, and reload your server."},
	"CERTIFICATE_NOT_YET_VALID":     {gen.VerdictCERTIFICATEREFUSED, "Your certificate is valid only from a later time: check the clock of the machine that made it."},
	"CERTIFICATE_OTHER_NAME":        {gen.VerdictCERTIFICATEREFUSED, "Your certificate does not name your host among its subject alternative names: get one that does."},
	"CERTIFICATE_SELF_SIGNED":       {gen.VerdictCERTIFICATEREFUSED, "Your certificate is signed by itself: get one from a public authority."},
	"CERTIFICATE_CHAIN_INCOMPLETE":  {gen.VerdictCERTIFICATEREFUSED, "Your server sends its certificate without the intermediate one, which browsers often hide: configure the full chain (`fullchain.pem`)."},
	"CERTIFICATE_UNKNOWN_AUTHORITY": {gen.VerdictCERTIFICATEREFUSED, "Your certificate is from a private authority: get one from a public authority."},
	"CERTIFICATE_INVALID":           {gen.VerdictCERTIFICATEREFUSED, "Your certificate is not for servers, or breaks a rule: get a new one from a public authority."},

	"CLIENT_CERTIFICATE_REQUIRED": {gen.VerdictHANDSHAKEFAILED, "Your server demands a client certificate, and Recapito has none that it takes: do not demand it for this URL, and verify the signature; or ask the operator for one."},
	"CLIENT_CERTIFICATE_REFUSED":  {gen.VerdictHANDSHAKEFAILED, "Your server refuses the client certificate of Recapito: let it trust the authority that the operator names, or do not demand one for this URL."},
	"TLS_VERSION":                 {gen.VerdictHANDSHAKEFAILED, "Your server has neither TLS 1.2 nor 1.3: turn one on."},
	"TLS_CIPHER":                  {gen.VerdictHANDSHAKEFAILED, "Your server and Recapito have no cipher suite in common, or your server has no certificate for your host: turn on suites with ECDHE and AEAD."},
	"TLS_SERVER_NAME":             {gen.VerdictHANDSHAKEFAILED, "Your server does not know your host's name: add the host to the server's configuration."},
	"TLS_PROTOCOL":                {gen.VerdictHANDSHAKEFAILED, "Your server does not offer HTTP/1.1: turn it on beside HTTP/2."},
	"HANDSHAKE_TIMEOUT":           {gen.VerdictHANDSHAKEFAILED, "The TLS handshake did not end within 5 s: check that your server is not overloaded, and that the port is the right one."},
	"HANDSHAKE_CLOSED":            {gen.VerdictHANDSHAKEFAILED, "Your server ended the connection in the TLS handshake, as when it has no certificate for your host or a firewall is in front: its log says why."},
	"TLS_FAILED":                  {gen.VerdictHANDSHAKEFAILED, "No TLS session was made: the log of your server says why."},
	"PLAIN_HTTP":                  {gen.VerdictPLAINHTTP, "Your server speaks HTTP at this port, not TLS: turn TLS on, or correct the port."},
	"NOT_TLS":                     {gen.VerdictNOTTLS, "Your server does not speak TLS at this port: correct the port, or turn TLS on."},

	"REQUEST_NOT_READ":  {gen.VerdictNOANSWER, "Your server did not read the request within 10 s: check that it is not overloaded."},
	"NO_ANSWER":         {gen.VerdictNOANSWER, "Your server took the request and did not answer within 10 s: answer first, work later."},
	"TIMEOUT":           {gen.VerdictNOANSWER, "No answer came in time: answer first, work later."},
	late:                {gen.VerdictANSWEREDLATE, "Your server answered after the deadline, when the attempt had failed: answer first, work later."},
	"ANSWER_UNFINISHED": {gen.VerdictANSWERUNFINISHED, "Your server began an answer and did not end its header: check what stands in front of it, such as a proxy."},
	"CONNECTION_CLOSED": {gen.VerdictCONNECTIONLOST, "Your server closed the connection without an answer: look for a crash in its log."},
	"CONNECTION_RESET":  {gen.VerdictCONNECTIONLOST, "Your server, or a firewall in front of it, broke the connection off without an answer: its log says which."},
	"CONNECTION_LOST":   {gen.VerdictCONNECTIONLOST, "The connection ended without an answer: look for a crash in the log of your server."},

	"NOT_HTTP":          {gen.VerdictRESPONSEINVALID, "The answer was not HTTP/1: correct the port, or the server's protocol."},
	"STATUS_INVALID":    {gen.VerdictRESPONSEINVALID, "The answer's status is not a number from 100 to 999: answer with a 2xx."},
	"HEADER_TOO_LARGE":  {gen.VerdictRESPONSEINVALID, "Your server sent more than 32 KiB before a final status: send less."},
	"PROTOCOL_SWITCHED": {gen.VerdictRESPONSEINVALID, "Your server answered 101: answer a `POST` with a 2xx."},
	"RESPONSE_INVALID":  {gen.VerdictRESPONSEINVALID, "The answer was not HTTP/1.1: correct the port, or the server's protocol."},

	"3xx":   {gen.VerdictREDIRECTED, "Your server redirects, which Recapito never follows: `PUT` the URL of `location` as the callback URL, or answer here with a 2xx."},
	"400":   {gen.VerdictREQUESTREFUSED, "Your server finds the request bad: compare what it expects with `payload`, and look in its log."},
	"401":   {gen.VerdictCALLERREFUSED, "Your server refused the caller: verify the signature with the present secret over the bytes that arrived, set its clock right, and demand no other credential."},
	"403":   {gen.VerdictCALLERREFUSED, "Your server, or a firewall in front of it, refused the caller: let Recapito's `POST` through, and verify the signature with the present secret over the bytes that arrived."},
	"404":   {gen.VerdictPATHNOTFOUND, "Your server does not know the path: correct the path of the URL, or add the route."},
	"405":   {gen.VerdictMETHODREFUSED, "Your server does not take `POST` at this path: let the route take it, or correct the path of the URL."},
	"410":   {gen.VerdictGONE, "Your server says that the URL is gone, which suspends the webhook when a delivery gets it: answer with a 2xx, and `PUT` the URL."},
	"411":   {gen.VerdictBODYREFUSED, "Your server, or a proxy in front of it, misses `Content-Length`, which Recapito sends: check the proxy."},
	"413":   {gen.VerdictBODYREFUSED, "Your server takes too small bodies: allow 16 KiB."},
	"415":   {gen.VerdictBODYREFUSED, "Your server does not take `application/json` at this path: let it."},
	"429":   {gen.VerdictRATELIMITED, "Your server, or what stands in front of it, limits the requests: raise the limit for this path; deliveries slow down until then."},
	"4xx":   {gen.VerdictREQUESTREFUSED, "Your server refused the request: its log says why."},
	"502":   {gen.VerdictSERVERFAILED, "A proxy in front of your server got no good answer from it: check that your server runs, and that the proxy reaches it."},
	"503":   {gen.VerdictSERVERFAILED, "Your server, or a proxy in front of it, is not available: check that it runs and is not overloaded."},
	"504":   {gen.VerdictSERVERFAILED, "A proxy in front of your server got no answer from it in time: answer first, work later."},
	"5xx":   {gen.VerdictSERVERFAILED, "Your server failed at the request: its log says why."},
	"other": {gen.VerdictSTATUSUNKNOWN, "The answer's status is none that HTTP knows: answer with a 2xx."},

	"INTERNAL_ERROR": {gen.VerdictNOTTESTED, "Recapito could not send the test, and your endpoint has no part in it: try again."},
}

// rule is what is said of a test that ended so. The certificates, if there were
// any, expire then.
func rule(a *store.Attempt, expiry, now time.Time) ruling { return rulings[way(a, expiry, now)] }

func way(a *store.Attempt, expiry, now time.Time) string {
	status := strconv.Itoa(a.StatusCode)
	switch {
	case a.Error == "" && !expiry.IsZero() && expiry.Before(now.Add(expiresSoon)):
		return expires
	case a.Error == "":
		return inTime
	case a.Error == store.Timeout && a.StatusCode != 0:
		return late
	case known(a.Detail):
		return a.Detail
	case a.Error != store.HTTPStatus:
		return string(a.Error)
	case known(status):
		return status
	case known(status[:1] + "xx"):
		return status[:1] + "xx"
	}
	return "other"
}

func known(way string) bool {
	_, ok := rulings[way]
	return ok
}

const (
	maxCertificates = 10
	maxNames        = 20
	maxNameLength   = 256
	maxTextLength   = 512
)

func showSession(s *tls.ConnectionState) *gen.TLSSession {
	if s == nil {
		return nil
	}
	out := &gen.TLSSession{Certificates: []gen.Certificate{}, ExpiresAt: showOptionalTime(expiry(s))}
	if s.Version != 0 {
		out.Version = new(tls.VersionName(s.Version))
	}
	for _, c := range s.PeerCertificates[:min(len(s.PeerCertificates), maxCertificates)] {
		out.Certificates = append(out.Certificates, showCertificate(c))
	}
	return out
}

func showCertificate(c *x509.Certificate) gen.Certificate {
	out := gen.Certificate{
		Subject: showText(c.Subject.String(), maxTextLength), Issuer: showText(c.Issuer.String(), maxTextLength), Names: []string{},
		NotBefore: showTime(c.NotBefore), NotAfter: showTime(c.NotAfter),
	}
	for _, name := range c.DNSNames[:min(len(c.DNSNames), maxNames)] {
		out.Names = append(out.Names, showText(name, maxNameLength))
	}
	for _, ip := range c.IPAddresses[:min(len(c.IPAddresses), maxNames-len(out.Names))] {
		out.Names = append(out.Names, ip.String())
	}
	return out
}

// expiry is until when the certificates lead to a known authority; zero: they do
// not.
func expiry(s *tls.ConnectionState) (latest time.Time) {
	if s == nil {
		return latest
	}
	for _, chain := range s.VerifiedChains {
		ends := chain[0].NotAfter
		for _, c := range chain {
			if c.NotAfter.Before(ends) {
				ends = c.NotAfter
			}
		}
		if ends.After(latest) {
			latest = ends
		}
	}
	return latest
}

// showText makes a text that can be shown of another's.
func showText(text string, most int) string {
	shown := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text))
	return string(shown[:min(len(shown), most)])
}
