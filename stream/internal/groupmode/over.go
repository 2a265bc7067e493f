package groupmode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/mode"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
	"millrace/stream/internal/task"
)

// takeOverTime is how long the reader waits for the claimer to take what was handed back.
const takeOverTime = 50 * time.Millisecond

// isOver returns mode.ErrOver if the group has passed the bound, and no entry up to there waits
// for a consumer. If one was handed back, isOver has it taken, and reports that nothing is to be
// read before.
func (s *source) isOver(ctx context.Context) (wait bool, err error) {
	if s.bound == nil || !s.idle && !s.bound.IsCut() && resp.CompareIDs(s.last, s.bound.At()) < 0 {
		return false, nil
	}
	if !s.bound.IsCut() {
		position, err := s.groupPosition(ctx)
		if err != nil {
			return false, err
		}
		if passed, err := s.bound.Passed(ctx, s.losses.Stream(), position); err != nil || !passed {
			return false, err
		}
	}
	left, err := s.client.XPendingExt(ctx, &redis.XPendingExtArgs{
		Stream: s.stream, Group: s.group, Consumer: script.HandedBackTo, Start: "-", End: s.bound.At(), Count: 1,
	}).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return false, fmt.Errorf("looking for what was handed back: %w", err)
	}
	if len(left) == 0 {
		return false, mode.ErrOver
	}
	s.claims.task.Request()
	task.Sleep(ctx, takeOverTime)
	return true, ctx.Err()
}

// groupPosition returns the last entry that the group was given.
func (s *source) groupPosition(ctx context.Context) (string, error) {
	groups, err := s.client.XInfoGroups(ctx, s.stream).Result()
	if err != nil {
		return "", fmt.Errorf("looking up the group %q: %w", s.group, err)
	}
	for _, group := range groups {
		if group.Name == s.group {
			return group.LastDeliveredID, nil
		}
	}
	return s.last, nil // the next read finds the group gone
}
