package server_test

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/cmd/millrace/internal/server"
)

// parse returns the options of the client of an address.
func parse(text string) (redis.UniversalOptions, error) {
	target, err := server.Parse(text)
	if err != nil {
		return redis.UniversalOptions{}, err
	}
	return target.Options, nil
}

// TestParse reads addresses of servers, clusters and sentinels.
func TestParse(t *testing.T) {
	t.Parallel()
	got, err := parse("rediss://ada:p%40ss@h1/3?dial_timeout=2s")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Addrs, []string{"h1:6379"}) || got.Username != "ada" || got.Password != "p@ss" || got.DB != 3 || got.DialTimeout != 2*time.Second {
		t.Errorf("it is %+v", got)
	}
	if got.TLSConfig == nil || got.TLSConfig.ServerName != "h1" || got.IsClusterMode || got.MasterName != "" {
		t.Errorf("it is %+v", got)
	}
	got, err = parse("redis://:p,ss@h1:1,h2:2,[::1]:3")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Addrs, []string{"h1:1", "h2:2", "[::1]:3"}) || !got.IsClusterMode || got.Password != "p,ss" || got.TLSConfig != nil {
		t.Errorf("it is %+v", got)
	}
	if got, err = parse("rediss://h1?cluster=true"); err != nil || !got.IsClusterMode || got.TLSConfig.ServerName != "" {
		t.Errorf("it is %+v, %v", got, err)
	}
	got, err = parse("redis://h1:26379,h2:26379/2?master=m&sentinel_password=s&sentinel_username=u")
	if err != nil || got.MasterName != "m" || got.IsClusterMode || got.DB != 2 || got.SentinelPassword != "s" || got.SentinelUsername != "u" || len(got.Addrs) != 2 {
		t.Errorf("it is %+v, %v", got, err)
	}
}
