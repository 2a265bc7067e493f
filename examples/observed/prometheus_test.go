package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace/middleware/promstream"
	"millrace/stream/streamtest"
)

// lookFor returns the path of a program. Without it the test is skipped, or fails in CI, where a
// test that does not run is a defect.
func lookFor(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("there is no %s on the PATH, and in CI no test may be left out: install it", program)
		}
		t.Skipf("needs a %s on the PATH", program)
	}
	return path
}

// startPrometheus starts a Prometheus that scrapes the target each half second, and returns its
// URL.
func startPrometheus(t *testing.T, target string) string {
	t.Helper()
	program := lookFor(t, "prometheus")
	dir := t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 500ms, scrape_timeout: 500ms}\nscrape_configs:\n- job_name: observed\n  static_configs: [{targets: [%q]}]\n", target)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	var log output
	cmd := exec.Command(program, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address) //nolint:gosec,noctx // killed below
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus: %s", log.String())
		}
	})
	base := "http://" + address
	streamtest.Await(t, "prometheus is ready", func() bool {
		response, err := http.Get(base + "/-/ready") //nolint:noctx // a test's
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return base
}

// series returns how many series an expression has, or the error of Prometheus.
func series(t *testing.T, base, expr string) (int, string) {
	t.Helper()
	_, body := get(t, base+"/api/v1/query?query="+url.QueryEscape(expr))
	var answer struct {
		Status, Error string
		Data          struct{ Result []json.RawMessage }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatal(err)
	}
	return len(answer.Data.Result), answer.Error
}

// dashboardExpressions are those of the dashboard, with the variables of Grafana set.
func dashboardExpressions(t *testing.T) (list []string) {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
	}
	text, err := promstream.Dashboard()
	if err == nil {
		err = json.Unmarshal(text, &dashboard)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			list = append(list, strings.NewReplacer("$__rate_interval", "1m", "$stream", ".*").Replace(target.Expr))
		}
	}
	return list
}

// alertExpressions are those of the alerts, each whole and without its comparison.
func alertExpressions(t *testing.T) (whole, compared []string) {
	t.Helper()
	comparison := regexp.MustCompile(` (==|>) [0-9.]+$`)
	for _, found := range regexp.MustCompile(`(?m)^ +expr: (".*")$`).FindAllSubmatch(promstream.Alerts(), -1) {
		expr, err := strconv.Unquote(string(found[1]))
		if err != nil || !comparison.MatchString(expr) {
			t.Fatalf("the expression %s is no comparison: %v", found[1], err)
		}
		whole, compared = append(whole, expr), append(compared, comparison.ReplaceAllString(expr, ""))
	}
	return whole, compared
}

// Every expression of the dashboard and of the alerts finds what the service exports.
func TestExpressionsOnAPrometheus(t *testing.T) {
	t.Parallel()
	lookFor(t, "prometheus")
	server := streamtest.StartRedis(t) // one in memory does not know the lag of a group
	address, _, _ := startService(t, settings{redis: "redis://" + server.Addr, demo: 20 * time.Millisecond})
	base := startPrometheus(t, strings.TrimPrefix(address, "http://"))
	whole, compared := alertExpressions(t)
	expressions := append(dashboardExpressions(t), compared...)
	if len(whole) < 5 || len(expressions) < 30 {
		t.Fatalf("only %d alerts and %d expressions were found", len(whole), len(expressions))
	}
	for _, expr := range whole {
		if _, problem := series(t, base, expr); problem != "" {
			t.Errorf("%s: %s", expr, problem)
		}
	}
	deadline := time.Now().Add(30 * time.Second)
	for _, expr := range expressions {
		n, problem := series(t, base, expr)
		for n == 0 && problem == "" && time.Now().Before(deadline) {
			pause(t, 100*time.Millisecond)
			n, problem = series(t, base, expr)
		}
		if n == 0 {
			t.Errorf("%s: no series; %s", expr, problem)
		}
	}
}

// pause waits before something is tried again.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

func TestRulesAreValid(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "alerts.yaml")
	if err := os.WriteFile(file, promstream.Alerts(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), lookFor(t, "promtool"), "check", "rules", file).CombinedOutput(); err != nil { //nolint:gosec // a test's file
		t.Errorf("%v: %s", err, out)
	}
}
