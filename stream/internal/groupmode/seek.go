package groupmode

import (
	"context"
	"fmt"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/mode"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
)

// seek sets the group to a place, and makes the group if it is missing. What is pending in the
// group stays so.
func (s *source) seek(ctx context.Context, to mode.Start) (from, at string, err error) {
	err = s.client.XGroupCreateMkStream(ctx, s.stream, s.group, resp.Beginning).Err()
	if err != nil && conn.Classify(err).Code != "BUSYGROUP" {
		return "", "", fmt.Errorf("making the group %q: %w", s.group, err)
	}
	place, read := resp.Beginning, int64(-1)
	switch {
	case to.End:
		place = "+"
	case to.After != nil:
		place = *to.After
		if read, err = s.losses.Stream().Number(ctx, place); err != nil {
			return "", "", err
		}
	}
	reply, err := script.Seek.Run(ctx, s.client, []string{s.stream}, s.group, place, read).StringSlice()
	if err != nil {
		return "", "", fmt.Errorf("setting the group %q to another place: %w", s.group, err)
	}
	return reply[0], reply[1], nil
}
