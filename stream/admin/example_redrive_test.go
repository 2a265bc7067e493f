package admin_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"millrace/stream/admin"
)

// exampleLetters returns a client of a Redis in memory that has three dead letters of orders.
func exampleLetters() (client *redis.Client, closeClient func()) {
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	client = redis.NewClient(&redis.Options{Addr: server.Addr()})
	for i, cause := range []string{
		"handler: dial tcp 10.0.0.1:5432: connection refused",
		"handler: dial tcp 10.0.0.2:5432: connection refused",
		`field "cents" is not a number`,
	} {
		client.XAdd(context.Background(), &redis.XAddArgs{Stream: "{orders}:dead", ID: fmt.Sprintf("1700000000000-%d", i), Values: []string{
			"id", fmt.Sprint("o-", i), "millrace.stream", "orders", "millrace.id", fmt.Sprintf("1690000000000-%d", i),
			"millrace.group", "billing", "millrace.attempts", "5", "millrace.error", cause, "millrace.time", "2023-11-14T22:13:20Z",
		}})
	}
	client.XGroupCreateMkStream(context.Background(), "orders", "billing", "0")
	return client, func() {
		_ = client.Close()
		server.Close()
	}
}

// Look why entries were given up, and give those back whose cause is mended.
func ExampleAdmin_Redrive() {
	ctx := context.Background()
	client, closeClient := exampleLetters()
	defer closeClient()
	a, err := admin.New(client, admin.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		panic(err)
	}
	causes, err := a.Causes(ctx, "orders", 10_000)
	if err != nil {
		panic(err)
	}
	for _, cause := range causes {
		fmt.Println(cause.Count, cause.Reader, "-", cause.Text)
	}
	plan, err := a.Redrive(ctx, "orders", admin.RedriveConfig{Where: admin.Where{Cause: "connection refused"}})
	if err != nil {
		panic(err)
	}
	fmt.Println(plan.Summary)
	done, err := plan.Do(ctx, admin.By("ada", "the database is back"), admin.Rate(50))
	fmt.Println(done, err)
	// Output:
	// 2 group billing of orders - handler: dial tcp #.#.#.#:#: connection refused
	// 1 group billing of orders - field "cents" is not a number
	// 2 of 3 dead letters go back to orders, for group billing only
	// 2 of 2 moved <nil>
}
