package stream_test

import (
	"fmt"
	"testing"

	"millrace/codec"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// choosy is a codec that says of some entries that they are meant for others.
type choosy struct{ codec.Codec[order] }

func (c choosy) Decode(fields codec.Fields) (order, error) {
	if id, _ := fields.Get("id"); id == "4" {
		return order{}, fmt.Errorf("wrapped: %w", stream.Skip("of no concern"))
	}
	return c.Codec.Decode(fields)
}

func TestDecodeMaySkip(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	for i := range 6 {
		add(t, client, fmt.Sprint(i))
	}
	var out logs
	rec := newRecorder()
	topic := orders
	topic.Codec = choosy{codec.Struct[order]()}
	consumer, err := stream.NewGroupConsumer(client, topic, "billing", rec.Handle, stream.WithLogger(out.Logger()))
	if err != nil {
		t.Fatal(err)
	}
	start(t, consumer)
	if seen := rec.await(t, 5); len(seen) != 5 {
		t.Errorf("delivered %v", seen)
	}
	settled(t, client)
	if len(out.lines("INFO", "skipped", "of no concern")) != 1 || len(out.lines("WARN", "cannot be decoded")) != 0 {
		t.Errorf("the log is\n%s", out.String())
	}
}
