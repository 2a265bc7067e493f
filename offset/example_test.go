package offset_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"millrace/offset"
)

func ExampleMemory() {
	ctx := context.Background()
	var store offset.Memory
	_ = store.Save(ctx, "billing", "1700000000000-10")
	_ = store.Save(ctx, "billing", "1700000000000-9") // comes late, changes nothing

	id, found, err := store.Load(ctx, "billing")
	fmt.Println(id, found, err)
	// Output: 1700000000000-10 true <nil>
}

func ExampleNewRedis() {
	ctx := context.Background()
	server, err := miniredis.Run() // stands for your Redis
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = client.Close() }()

	store, err := offset.NewRedis(client, "shop:offsets")
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := store.Save(ctx, "billing", "1700000000000-0"); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(client.HGetAll(ctx, "shop:offsets").Val())
	// Output: map[billing:1700000000000-0]
}

func ExampleNewFile() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "offsets")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "offsets.json")

	store, err := offset.NewFile(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := store.Save(ctx, "billing", "1700000000000-0"); err != nil {
		fmt.Println(err)
		return
	}
	content, err := os.ReadFile(path)
	fmt.Println(string(content), err)
	// Output:
	// {
	//   "billing": "1700000000000-0"
	// }
	//  <nil>
}

func ExampleID_Compare() {
	a, _ := offset.Parse("9-0")
	b, _ := offset.Parse("10-0")
	fmt.Println(a.Compare(b), a.String() < b.String())
	// Output: -1 false
}
