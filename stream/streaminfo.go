package stream

import (
	"context"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/contain"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
)

// infoOf is XINFO STREAM. Of the first and the last entry it has the IDs alone.
func infoOf(ctx context.Context, client redis.UniversalClient, stream string) (*redis.XInfoStream, error) {
	info := &redis.XInfoStream{}
	err := conn.SendQuery(ctx, client.Process, func() conn.Query { return conn.QueryInfo(ctx, stream, info) })
	if err == conn.ErrUnread { //nolint:errorlint // our own, never wrapped
		info, err = client.XInfoStream(ctx, stream).Result()
	}
	if conn.IsCut(contain.Harmless(err), false, 0) {
		return infoByScript(ctx, client, stream)
	}
	return info, err
}

// infoByScript is for a stream whose first and last entry, which XINFO brings, are too
// large for a reply.
func infoByScript(ctx context.Context, client redis.UniversalClient, stream string) (*redis.XInfoStream, error) {
	reply, err := script.Info.Run(ctx, client, []string{stream}).Slice()
	if err != nil {
		return nil, err
	}
	info := &redis.XInfoStream{}
	if !script.Scan(reply, &info.Length, &info.EntriesAdded, &info.LastGeneratedID, &info.MaxDeletedEntryID, &info.FirstEntry.ID, &info.LastEntry.ID) {
		return nil, resp.Malformed("XINFO has other elements")
	}
	return info, nil
}
