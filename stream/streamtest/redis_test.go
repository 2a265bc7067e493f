package streamtest_test

import (
	"context"
	"testing"
	"time"

	"millrace/stream/streamtest"
)

func TestRedisOverKillsAndRestarts(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	client := server.Client()
	if err := client.Set(t.Context(), "key", "kept", 0).Err(); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Error("a killed server answers")
	}
	server.Start()
	if got := client.Get(t.Context(), "key").Val(); got != "kept" {
		t.Errorf("after a restart the key holds %q", got)
	}
	server.Kill()
	server.Empty()
	server.Start()
	if n := client.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("after an empty restart there are %d keys", n)
	}
}

func TestRedisTakesArguments(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no", "--maxmemory", "5mb").Client()
	got := client.ConfigGet(t.Context(), "maxmemory").Val()
	if got["maxmemory"] != "5242880" {
		t.Errorf("maxmemory is %v", got)
	}
}

func TestFrozenRedisAnswersWhenThawed(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	client := server.Client()
	ping := func() <-chan error {
		done := make(chan error, 1)
		go func() { done <- client.Ping(context.Background()).Err() }()
		return done
	}
	if err := <-ping(); err != nil {
		t.Fatal(err)
	}
	server.Freeze()
	answer := ping()
	select {
	case err := <-answer:
		t.Errorf("a frozen server answers, with %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	server.Thaw()
	if err := <-answer; err != nil {
		t.Errorf("after the thaw: %v", err)
	}
	server.Freeze()
	server.Kill()
	server.Start()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("killed while frozen, and started again: %v", err)
	}
}
