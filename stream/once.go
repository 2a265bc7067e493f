package stream

import (
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/script"
)

// evaluation is a way to run the script.
type evaluation struct{ command, script string }

var (
	byHash   = evaluation{"evalsha", redis.NewScript(script.PublishOnce).Hash()}
	bySource = evaluation{"eval", script.PublishOnce}
)

// WithIdempotencyWindow sets how long [Producer.PublishOnce] remembers a key,
// from the first call on. Default: 10 minutes. Less than a millisecond is
// refused, zero included; Redis counts in whole milliseconds. It must be longer
// than anybody goes on trying to publish an event. The memory that the keys take
// grows with it. It does nothing to [Producer.Publish].
func WithIdempotencyWindow(d time.Duration) Option {
	return option{"WithIdempotencyWindow", producer, func(c *config) { c.onceWindow = d }}
}
