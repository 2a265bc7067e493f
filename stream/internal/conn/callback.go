package conn

import (
	"context"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/contain"
)

// The callbacks of a client's options, made safe for a client of our own. go-redis calls
// them while it holds a place of its pool, which a panic would leave taken for ever.

func safeConnect(own onConnect) onConnect {
	if own == nil {
		return nil
	}
	return func(ctx context.Context, conn *redis.Conn) error {
		return contain.Isolated(func() error { return own(ctx, conn) })
	}
}

type credentialsProvider = func(ctx context.Context) (username, password string, err error)

// safeCredentials returns the one of the two that go-redis would ask, nil if both are.
func safeCredentials(plain func() (username, password string), own credentialsProvider) credentialsProvider {
	if own == nil && plain == nil {
		return nil
	}
	return func(ctx context.Context) (username, password string, err error) {
		err = contain.Isolated(func() (err error) {
			if own != nil {
				username, password, err = own(ctx)
			} else {
				username, password = plain()
			}
			return err
		})
		return username, password, err
	}
}
