package history_test

import (
	"context"
	"fmt"
	"testing"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
	"millrace/stream/streamtest/history"
)

type Reading struct {
	Sensor string `mapstructure:"sensor" validate:"required"`
}

var Readings = stream.Topic[Reading]{Name: "readings"}

// readThroughFaults is a test of yours: func TestFaults(t *testing.T).
func readThroughFaults(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	proxy := streamtest.StartProxy(t, server.Addr)
	var recorder history.Recorder

	instance := streamtest.NewInstance(t, proxy.Client())
	consumer, err := stream.NewConsumer(instance.Client, Readings, recorder.Store("me", &offset.Memory{}),
		func(context.Context, *stream.Message[Reading]) error { return nil },
		stream.WithMiddleware(recorder.Middleware("me")))
	if err != nil {
		t.Fatal(err)
	}
	instance.Start(consumer)

	producer, err := stream.NewProducer(server.Client(), Readings)
	if err != nil {
		t.Fatal(err)
	}
	publish := func(n int) {
		for i := range n {
			sensor := fmt.Sprint(i)
			// An error is recorded, and is a part of the test.
			_, _ = recorder.Publish("test", sensor, func() (string, error) {
				return producer.Publish(t.Context(), Reading{Sensor: sensor})
			})
		}
	}
	publish(100)
	for name, fault := range map[string]func(){
		"a reply is cut": func() { proxy.Cut(streamtest.ToClient, 500); publish(100) },
		"a reset":        func() { proxy.Reset() },
		"kill of Redis":  func() { server.Kill(); server.Start() },
	} {
		over := recorder.Inject(history.Fault{Name: name}) // none may cause a repeat
		fault()
		over()
		publish(100)
	}

	log := streamtest.EntryIDs(t, server.Client(), Readings.Name)
	recorder.AwaitHandled(log) // Verify fails if an entry is missing
	if err := instance.Stop(); err != nil {
		t.Error(err)
	}
	events, err := recorder.Events()
	if err != nil {
		t.Fatal(err)
	}
	history.Verify(t, history.Rules{Order: history.InOrder}, events, log)
}

// Every reading is handled in its order, through all faults of Redis and of the network.
func ExampleVerify() {
	var t *testing.T // your test's
	readThroughFaults(t)
}
