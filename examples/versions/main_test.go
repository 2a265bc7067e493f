package main

import (
	"bytes"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

func TestTheLedgerIsBooked(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	defer client.Close()
	var out bytes.Buffer
	if err := run(t.Context(), client, &out); err != nil {
		t.Fatal(err)
	}
	const want = `order A1 of 9.90 EUR
order A2 of 20.50 CHF
refund of order A1
3 booked, 1 skipped
`
	if out.String() != want {
		t.Errorf("it wrote\n%s", out.String())
	}
}
