package stream_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"millrace/offset"
	"millrace/stream"
)

// A trimmer waits for each group of the stream, and for the offset that is kept under a
// label. A Runner runs it beside the consumers.
func ExampleNewTrimmer() {
	client, closeClient := exampleClient()
	defer closeClient()
	offsets, err := offset.NewRedis(client, "")
	if err != nil {
		log.Fatal(err)
	}
	trimmer, err := stream.NewTrimmer(client, Signups.Name,
		stream.WithOffsets(offsets, Signups.Name), stream.WithTrimInterval(time.Minute),
		stream.WithTrimReport(func(result stream.TrimResult) { log.Println("trimmed", result.Trimmed) }))
	if err != nil {
		log.Fatal(err)
	}
	var r stream.Runner
	r.Add(trimmer)
	fmt.Println(trimmer)
	// Output:
	// trimmer of signups
}

// Offsets in a file are not known to a trimmer in another process. A mirror around the
// store shows them in the stream.
func ExampleNewMirror() {
	client, closeClient := exampleClient()
	defer closeClient()
	file, err := offset.NewFile("/var/lib/signups/offsets.json")
	if err != nil {
		log.Fatal(err)
	}
	mirror, err := stream.NewMirror(client, Signups.Name, file)
	if err != nil {
		log.Fatal(err)
	}
	consumer, err := stream.NewConsumer(client, Signups, mirror,
		func(context.Context, *stream.Message[Signup]) error { return nil }, stream.WithLabel("welcome"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(consumer)
	// Output:
	// signups as "welcome"
}

// A consumer that goes on after most losses, and stops where entries would be handled
// twice.
func ExampleWithLossPolicy() {
	client, closeClient := exampleClient()
	defer closeClient()
	policy := func(ctx context.Context, loss *stream.LossError) (stream.Start, error) {
		if loss.Cause == stream.LossRecreated {
			return stream.Start{}, errors.New("the stream was made again: look at it first")
		}
		return stream.ResumeAtKnown(ctx, loss)
	}
	_, err := stream.NewConsumer(client, Signups, &offset.Memory{},
		func(context.Context, *stream.Message[Signup]) error { return nil }, stream.WithLossPolicy(policy))
	fmt.Println(err)
	// Output:
	// <nil>
}
