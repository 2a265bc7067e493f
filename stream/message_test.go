package stream_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/stream"
)

// The fields of an entry are in their order, repeated names included, at the first delivery
// and at later ones, for which group mode fetches the entry again.
func TestFieldsAreInTheirOrder(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		pairs := []string{"z", "1", "id", "y", "a", "", "id", "x", "amount", "7", "z", "2"}
		addFields(t, client, pairs...)
		rec := newRecorder()
		rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
			if want := codec.FieldsOf(pairs...); !reflect.DeepEqual(msg.Fields, want) {
				t.Errorf("delivery %d has the fields %v, want %v", msg.Deliveries, msg.Fields, want)
			}
			if want := (order{ID: "x", Amount: 7}); msg.Value != want {
				t.Errorf("delivery %d has the value %v, want %v", msg.Deliveries, msg.Value, want)
			}
			if msg.Deliveries < 3 {
				return errors.New("not yet")
			}
			return nil
		}
		stop := start(t, mode.make(t, client, "orders", rec.Handle))
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if seen := rec.Seen(); len(seen) != 3 {
			t.Errorf("%d deliveries, want 3", len(seen))
		}
	})
}
