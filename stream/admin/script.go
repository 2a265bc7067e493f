package admin

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed replace.lua
	replaceSource string
	//go:embed destroy.lua
	destroySource string
)

// replaceScript puts ARGV[3] in the place of ARGV[2] in the field ARGV[1] of a hash; an empty
// text stands for no field. It returns the value that the field has then: another one than
// ARGV[3] says that it was left alone.
var replaceScript = redis.NewScript(replaceSource)

// destroyScript destroys the group ARGV[1] if it is at ARGV[2] and ARGV[3] entries are pending in
// it, or if ARGV[4] is not empty. It returns whether it did.
var destroyScript = redis.NewScript(destroySource)

// errContended is that a field of a hash is changed all the time.
var errContended = errors.New("it is changed by others all the time; try again")

// edit changes the field of a hash in one step: change gets its value, empty if there is no
// field, and returns the new one. An error of change ends it, and changes nothing.
func (a *Admin) edit(ctx context.Context, key, field string, change func(now string) (string, error)) error {
	now, err := a.client.HGet(ctx, key, field).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return explain("reading "+key, err)
	}
	for range 10 {
		next, err := change(now)
		if err != nil || next == now {
			return err
		}
		found, err := replaceScript.Run(ctx, a.client, []string{key}, field, now, next).Text()
		if err != nil {
			return explain("writing to "+key, err)
		}
		if found == next {
			return nil
		}
		now = found
	}
	return fmt.Errorf("admin: writing to %s: %w", key, errContended)
}
