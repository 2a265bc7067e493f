package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
)

// store is where the events are: the Redis that was named, or one in memory.
type store struct {
	client   *redis.Client
	stream   string
	hash     string // the key of the offsets
	offsets  *offset.Redis
	keep     bool
	memory   *miniredis.Miniredis // nil with -redis
	snapshot string               // the file that keeps memory between runs
}

// openRedis connects to the Redis that was named, or starts one in memory. The
// keys are this program's own; without -keep they are new ones in every run.
func openRedis(set settings) (*store, error) {
	name := "millrace-example"
	if !set.keep {
		name += fmt.Sprintf(":%08x", rand.Uint32())
	}
	s := &store{
		stream:   name + ":user:lifecycle_events",
		hash:     name + ":offsets",
		keep:     set.keep,
		snapshot: filepath.Join(os.TempDir(), "millrace-example-userlifecycle.json"),
	}
	if set.redisURL != "" {
		options, err := redis.ParseURL(set.redisURL)
		if err != nil {
			return nil, errors.New("-redis: give a URL such as redis://user:password@127.0.0.1:6379/0") // err may hold the password
		}
		s.client = redis.NewClient(options)
	} else {
		memory, err := miniredis.Run()
		if err != nil {
			return nil, fmt.Errorf("starting a Redis in memory: %w", err)
		}
		s.memory = memory
		s.client = redis.NewClient(&redis.Options{Addr: memory.Addr()})
		if err := s.restore(); err != nil {
			s.close()
			return nil, fmt.Errorf("restoring what the last run kept in %s; remove the file to begin anew: %w", s.snapshot, err)
		}
	}
	var err error
	s.offsets, err = offset.NewRedis(s.client, s.hash)
	return s, err
}

func (s *store) close() {
	_ = s.client.Close()
	if s.memory != nil {
		s.memory.Close()
	}
}

// label is where lifecycle.Consumer keeps its offset.
const label = "user_lifecycle"

// waiting counts the entries behind the stored offset, by class, and returns
// the offset; none if there is none.
func (s *store) waiting(ctx context.Context) (found counts, after string, err error) {
	found = make(counts)
	after, stored, err := s.offsets.Load(ctx, label)
	if err != nil {
		return nil, "", err
	}
	from := "-"
	if stored {
		from = "(" + after
	}
	for {
		entries, err := s.client.XRangeN(ctx, s.stream, from, "+", 1000).Result()
		if err != nil {
			return nil, "", err
		}
		for _, entry := range entries {
			kind, _ := entry.Values["trace_id"].(string)
			found[class(kind)]++
			from = "(" + entry.ID
		}
		if len(entries) < 1000 {
			return found, after, nil
		}
	}
}

// caughtUp reports whether the offset has reached the last entry of the stream.
func (s *store) caughtUp(ctx context.Context) (bool, error) {
	last, err := s.client.XRevRangeN(ctx, s.stream, "+", "-", 1).Result()
	if err != nil || len(last) == 0 {
		return err == nil, err
	}
	after, _, err := s.offsets.Load(ctx, label)
	return err == nil && reached(after, last[0].ID), err
}

// reached reports whether an offset is at or after an entry.
func reached(after, entryID string) bool {
	a, err := offset.Parse(after)
	b, err2 := offset.Parse(entryID)
	return err == nil && err2 == nil && a.Compare(b) >= 0
}

// report prints the summary, checks it against what Redis has, and keeps or
// removes the keys.
func (s *store) report(ctx context.Context, out io.Writer, books *ledger) error {
	waiting, after, err := s.waiting(ctx)
	if err != nil {
		return err
	}
	books.strike(after)
	left := books.summary(out)
	dead := stream.DeadLetterStream(s.stream)
	letters, err := s.client.XRange(ctx, dead, "-", "+").Result()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%d dead letters in %s\n", len(letters), dead)
	if len(letters) > 0 {
		last := letters[len(letters)-1].Values
		fmt.Fprintf(out, "the last of them: entry %v, after %v attempts: %v\n", last[stream.DeadLetterID], last[stream.DeadLetterAttempts], last[stream.DeadLetterCause])
	}
	if waiting.sum() != left {
		return fmt.Errorf("the books do not add up: %d events were not reached, but the stream has %d behind the offset", left, waiting.sum())
	}
	switch {
	case s.keep:
		fmt.Fprintf(out, "the offset is %s; the next run with -keep goes on from there\n", after)
		return s.save(ctx)
	case left > 0:
		fmt.Fprintln(out, "with -keep, the next run would have handled what was not reached")
	}
	return s.client.Del(ctx, s.stream, dead, s.hash).Err()
}

// snapshot is what a run in memory keeps for the next one.
type snapshot struct {
	Streams map[string][]redis.XMessage
	Offsets map[string]string
}

// save writes the snapshot. A named Redis keeps everything by itself.
func (s *store) save(ctx context.Context) error {
	if s.memory == nil {
		return nil
	}
	kept := snapshot{Streams: make(map[string][]redis.XMessage)}
	for _, key := range []string{s.stream, stream.DeadLetterStream(s.stream)} {
		entries, err := s.client.XRange(ctx, key, "-", "+").Result()
		if err != nil {
			return err
		}
		kept.Streams[key] = entries
	}
	var err error
	if kept.Offsets, err = s.client.HGetAll(ctx, s.hash).Result(); err != nil {
		return err
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	return os.WriteFile(s.snapshot, text, 0o600)
}

// restore reads the snapshot, if it is wanted and there is one.
func (s *store) restore() error {
	if !s.keep {
		return nil
	}
	text, err := os.ReadFile(s.snapshot)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var kept snapshot
	if err := json.Unmarshal(text, &kept); err != nil {
		return err
	}
	ctx := context.Background()
	pipe := s.client.Pipeline()
	for key, entries := range kept.Streams {
		for _, entry := range entries {
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: key, ID: entry.ID, Values: entry.Values})
		}
	}
	for label, id := range kept.Offsets {
		pipe.HSet(ctx, s.hash, label, id)
	}
	_, err = pipe.Exec(ctx)
	return err
}
