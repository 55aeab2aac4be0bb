package doctor

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/recapito/recapito/command/service"
)

// integrity reads the whole store.
func integrity(ctx context.Context, cfg Config) Finding {
	const check = "store"
	if cfg.Integrity == nil {
		return Finding{}
	}
	holds, err := cfg.Integrity(ctx)
	if err != nil {
		return failure(check, err.Error(), "see \"The database file\" in docs/recovery.md")
	}
	return ok(check, holds)
}

// answerTime is how long a running service may take to answer.
const answerTime = 5 * time.Second

// running asks the service that runs, if one does, and tells its limit of open files;
// else our own.
func running(ctx context.Context, ops string) (found []Finding, limit uint64) {
	const check = "service"
	at := "http://" + reachable(ops)
	ready, code, err := get(ctx, at+"/readyz")
	if err != nil {
		return []Finding{ok(check, "none answers at "+ops+": what follows is about this machine")}, service.OpenFiles()
	}
	text, metricsCode, err := get(ctx, at+"/metrics")
	samples := samples(text)
	if _, ours := samples["recapito_slots"]; err != nil || metricsCode != http.StatusOK || !ours {
		return []Finding{failure(check, fmt.Sprintf("at %s something answers that is no recapito serve", ops), "give the service another --ops-listen, or end the other program")}, service.OpenFiles()
	}
	if code != http.StatusOK {
		found = append(found, failure(check, "it is not ready: "+strings.TrimSpace(ready), "look at its log"))
	}
	if last, known := samples["recapito_config_last_reload_successful"]; known && last == 0 {
		found = append(found, warning(check, "its last reload failed: the configuration before is in force", "look at its log, mend the configuration (recapito config check), and reload it again (SIGHUP)"))
	}
	if used, most := samples["process_open_fds"], samples["process_max_fds"]; most > 0 && used > 0.8*most {
		found = append(found, warning(check, fmt.Sprintf("%.0f of its %.0f files are open", used, most), "raise the limit (LimitNOFILE=)"))
	}
	if found == nil {
		found = []Finding{ok(check, "it is ready at "+ops)}
	}
	return found, uint64(samples["process_max_fds"])
}

// reachable is an address of this machine at which a listener can be reached.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("localhost", port)
	}
	return listen
}

func get(ctx context.Context, url string) (text string, code int, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", 0, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = resp.Body.Close() }() // only read
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	return string(body), resp.StatusCode, err
}

// samples are those of Prometheus' text form that have no labels.
func samples(text string) map[string]float64 {
	all := map[string]float64{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			all[name] = v
		}
	}
	return all
}
