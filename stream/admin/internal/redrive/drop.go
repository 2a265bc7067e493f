package redrive

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"millrace/stream/admin/internal/letters"
)

// Drop deletes letters, and then asks the server which of them are left. tell is called after each
// page with how many are deleted. The result says what was done, also with an error.
func Drop(ctx context.Context, client redis.UniversalClient, dead string, planned []letters.Planned, tell func(done int64)) (Ended, error) {
	w := work{planned: planned}
	var err error
	for err == nil && w.next < len(planned) {
		if err = ctx.Err(); err != nil {
			break
		}
		err = w.step(ctx, client, page(planned[w.next:], pageMost), func(ctx context.Context, some []letters.Planned) (answered, error) {
			n, err := scriptDrop.Run(ctx, client, []string{dead}, arguments(some)...).Int()
			return answered{len(some), n, len(some) - n}, err
		})
		tell(w.moved + w.unsure)
	}
	how, asking := w.outcome(context.WithoutCancel(ctx), client, dead)
	return how, errors.Join(err, asking)
}
