package stream

import (
	"time"

	"github.com/redis/go-redis/v9"
)

// onceSource adds an entry, unless the key tells that it was added. Both keys are
// declared and in one slot. The arguments are the window in milliseconds and
// those of XADD.
//
// A script is not rolled back, so that the step that can be refused (no memory,
// no right, a replica) comes first: after the first SET, the last cannot be. A
// key that holds "" says nothing; it is left behind only where DEL is not
// allowed, or where the entry has too many fields for unpack, and expires. The
// script names no flags: #!lua needs Redis 7, and what it adds, a refusal before
// the first command, is what the first SET does.
const onceSource = `
local id = redis.call('GET', KEYS[2])
if id and id ~= '' then return id end
redis.call('SET', KEYS[2], '', 'PX', ARGV[1])
id = redis.pcall('XADD', KEYS[1], unpack(ARGV, 2))
if type(id) == 'table' then
	redis.pcall('DEL', KEYS[2])
	return id
end
redis.call('SET', KEYS[2], id, 'PX', ARGV[1])
return id`

// evaluation is a way to run the script.
type evaluation struct{ command, script string }

var (
	byHash   = evaluation{"evalsha", redis.NewScript(onceSource).Hash()}
	bySource = evaluation{"eval", onceSource}
)

// WithIdempotencyWindow sets how long [Producer.PublishOnce] remembers a key,
// from the first call on. Default: 10 minutes. Less than a millisecond is
// refused, zero included; Redis counts in whole milliseconds. It must be longer
// than anybody goes on trying to publish an event. The memory that the keys take
// grows with it. It does nothing to [Producer.Publish].
func WithIdempotencyWindow(d time.Duration) Option {
	return option{"WithIdempotencyWindow", producer, func(c *config) { c.onceWindow = d }}
}
