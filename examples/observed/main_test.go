package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/stream/streamtest"
)

// output is what the program writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// startService starts the program, and returns its URL, its output, and a function that stops
// it and returns its error.
func startService(t *testing.T, s settings) (url string, out *output, stop func() error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out = new(output)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, s, listener, out, slog.New(slog.NewTextHandler(out, nil))) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return "http://" + listener.Addr().String(), out, stop
}

// get returns the status and the body of a page.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestServiceIsObserved(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"in memory", "on a server"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			s := settings{traces: true, ratio: 1}
			if where == "on a server" {
				s.redis = "redis://" + streamtest.StartRedis(t).Addr
			}
			url, out, stop := startService(t, s)
			streamtest.Await(t, "the service is ready", func() bool {
				status, _ := get(t, url+"/readyz")
				return status == http.StatusOK
			})
			if status, body := get(t, url+"/healthz"); status != http.StatusOK || body != "ok\n" {
				t.Errorf("/healthz: %d %q", status, body)
			}
			for body, want := range map[string]int{
				`{"id":"A1","amount":990}`: http.StatusAccepted,
				`{"id":"A2","amount":0}`:   http.StatusBadRequest,
				`no JSON`:                  http.StatusBadRequest,
			} {
				response, err := http.Post(url+"/orders", "application/json", strings.NewReader(body)) //nolint:noctx // a test's
				if err != nil {
					t.Fatal(err)
				}
				response.Body.Close()
				if response.StatusCode != want {
					t.Errorf("%s: status %d, want %d", body, response.StatusCode, want)
				}
			}
			streamtest.Await(t, "both consumers have handled the order", func() bool {
				_, body := get(t, url+"/metrics")
				return strings.Contains(body, `millrace_outcomes_total{group="billing",label="",outcome="handled",stream="observed:orders"} 1`) &&
					strings.Contains(body, `millrace_outcomes_total{group="",label="archive",outcome="handled",stream="observed:orders"} 1`)
			})
			begun := time.Now()
			if err := stop(); err != nil {
				t.Errorf("run: %v", err)
			}
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("the stop took %v", took)
			}
			for _, name := range []string{`"Name":"publish observed:orders"`, `"Name":"process observed:orders"`} {
				if !strings.Contains(out.String(), name) {
					t.Errorf("no span %s was exported", name)
				}
			}
		})
	}
}

func TestBadURL(t *testing.T) {
	t.Parallel()
	_, _, stop := startService(t, settings{redis: "redis://:s3cr3t@[::1"})
	if err := stop(); err == nil || !strings.HasPrefix(err.Error(), "-redis: give a URL") || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("run: %v", err)
	}
}
