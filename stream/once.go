package stream

import (
	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/script"
)

// evaluation is a way to run the script.
type evaluation struct{ command, script string }

var (
	byHash   = evaluation{"evalsha", redis.NewScript(script.PublishOnce).Hash()}
	bySource = evaluation{"eval", script.PublishOnce}
)
