package main

import (
	"bytes"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"millrace/stream/streamtest"
)

func TestNothingIsLostOrBookedTwice(t *testing.T) {
	t.Parallel()
	for name, addr := range map[string]func(*testing.T) string{
		"in memory":   func(t *testing.T) string { return miniredis.RunT(t).Addr() },
		"on a server": func(t *testing.T) string { return streamtest.StartRedis(t).Addr },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			err := run(t.Context(), &redis.Options{Addr: addr(t)}, &out)
			const want = "Watermill alone: [Watermill 100]\nBoth have booked: true\nTwice: 0. Missing: 0. Pending: 0.\n"
			if err != nil || out.String() != want {
				t.Errorf("it wrote\n%s%v", out.String(), err)
			}
		})
	}
}
