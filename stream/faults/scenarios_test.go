package faults_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
)

// unknown is a loss of which no number is known.
func unknown(cause stream.LossCause, from, to string) stream.LossError {
	return stream.LossError{Cause: cause, From: from, To: to, Count: -1}
}

// all returns want for the states of a mode.
func all(want func(*stage, *party) stream.LossError, states ...state) map[state]func(*stage, *party) stream.LossError {
	m := make(map[state]func(*stage, *party) stream.LossError)
	for _, st := range states {
		m[st] = want
	}
	return m
}

// behindPosition returns want for the states of a mode: a loss behind the position of the
// consumer, of which no number is known.
func behindPosition(cause stream.LossCause, to string, states ...state) map[state]func(*stage, *party) stream.LossError {
	return all(func(_ *stage, p *party) stream.LossError { return unknown(cause, p.position, to) }, states...)
}

// noMemory is why a group that is made anew at the start says nothing.
const noMemory = "the group was all that there was to know it by"

// number is the n of an id.
func number(id string) (n int) {
	_, _ = fmt.Sscanf(id, "%d-0", &n)
	return n - 1000
}

func deletedUnread(s *stage, p *party) stream.LossError {
	return stream.LossError{Cause: stream.LossTrimmed, From: p.position, To: id(s.n - 4), Count: 3}
}

// mostMoved is the most that a group which was set further on to an entry leaves out: a
// consumer does not know of the reads since its last look.
func mostMoved(p *party, to int) int64 {
	return min(max(p.losses[0].Count, int64(to-number(p.position))), int64(to-known))
}

var scenarios = []scenario{
	{
		name: "entries are trimmed unread",
		harm: func(s *stage) {
			s.atOnce(30, func(tx redis.Pipeliner) { tx.XTrimMaxLen(s.Context(), transfers.Name, 5) })
		},
		patient: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode: {
				idle: func(s *stage, p *party) stream.LossError {
					return stream.LossError{Cause: stream.LossTrimmed, From: p.position, To: id(s.n), Count: 25, Exact: true}
				},
				busy: func(s *stage, p *party) stream.LossError {
					return stream.LossError{Cause: stream.LossTrimmed, From: p.position, To: id(s.n - 4), Count: int64(s.n - 5 - number(p.position)), Exact: true}
				},
				stopped: func(s *stage, p *party) stream.LossError { // the number of those trimmed before is unknown
					return stream.LossError{Cause: stream.LossTrimmed, From: p.position, To: id(s.n - 4), Count: known + 25}
				},
			},
			groupMode: {
				idle: func(s *stage, p *party) stream.LossError {
					return stream.LossError{Cause: stream.LossTrimmed, From: p.position, To: id(s.n), Count: 25, Exact: true}
				},
				busy: func(s *stage, p *party) stream.LossError {
					return stream.LossError{Cause: stream.LossTrimmed, From: p.position, To: id(s.n - 4), Count: int64(s.n - 5 - number(p.position)), Exact: true}
				},
				stopped: func(s *stage, p *party) stream.LossError { // after a restart of Redis, its count can be an old one
					return stream.LossError{Cause: stream.LossTrimmed, From: p.position, To: id(s.n - 4), Count: 25}
				},
			},
		},
	},
	{
		name: "entries are deleted unread",
		harm: func(s *stage) {
			s.atOnce(10, func(tx redis.Pipeliner) { tx.XDel(s.Context(), transfers.Name, id(s.n-6), id(s.n-5), id(s.n-4)) })
		},
		patient: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode: {
				idle: func(s *stage, p *party) stream.LossError {
					return stream.LossError{Cause: stream.LossTrimmed, From: id(known), To: id(s.n), Count: 3, Exact: true}
				},
				busy: func(s *stage, p *party) stream.LossError {
					return stream.LossError{Cause: stream.LossTrimmed, From: id(known), To: id(s.n), Count: 3, Exact: true}
				},
				stopped: func(s *stage, p *party) stream.LossError {
					return stream.LossError{Cause: stream.LossTrimmed, From: p.position, To: id(s.n - 4), Count: 3}
				},
			},
			groupMode: {
				idle: func(s *stage, p *party) stream.LossError {
					return stream.LossError{Cause: stream.LossTrimmed, From: p.position, To: id(s.n), Count: 3, Exact: true}
				},
				busy:    deletedUnread,
				stopped: deletedUnread,
			},
		},
	},
	{
		name: "a pending entry is deleted",
		harm: func(s *stage) {
			s.atOnce(0, func(tx redis.Pipeliner) { tx.XDel(s.Context(), transfers.Name, id(s.n-2)) })
		},
		crash: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			groupMode: all(func(s *stage, _ *party) stream.LossError {
				return stream.LossError{Cause: stream.LossPending, From: id(s.n - 2), To: id(s.n - 2), Count: 1, Exact: true}
			}, stopped),
		},
	},
	{
		name: "the stream is deleted, and made again",
		harm: func(s *stage) {
			s.atOnce(0, func(tx redis.Pipeliner) { tx.Del(s.Context(), transfers.Name); s.add(tx, 5) })
		},
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode: all(func(s *stage, p *party) stream.LossError {
				return unknown(stream.LossRecreated, p.position, id(s.n-4))
			}, idle, busy, stopped),
			groupMode: all(func(s *stage, p *party) stream.LossError {
				return unknown(stream.LossRecreated, p.position, id(s.n-4))
			}, idle, busy),
		},
		silent: map[mode]map[state]string{groupMode: {stopped: noMemory}},
	},
	{
		name:    "FLUSHALL",
		harm:    func(s *stage) { s.atOnce(0, func(tx redis.Pipeliner) { tx.FlushAll(s.Context()) }) },
		outside: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode:   behindPosition(stream.LossRecreated, "", idle, busy, stopped),
			groupMode: behindPosition(stream.LossRecreated, "", idle, busy),
		},
		silent: map[mode]map[state]string{groupMode: {stopped: noMemory}},
	},
	{
		name:    "the stream is evicted",
		harm:    evict,
		outside: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode:   behindPosition(stream.LossRecreated, "", idle, busy, stopped),
			groupMode: behindPosition(stream.LossRecreated, "", idle, busy),
		},
		silent: map[mode]map[state]string{groupMode: {stopped: noMemory}},
	},
	{
		name: "the offset is ahead of another stream",
		harm: func(s *stage) {
			s.atOnce(0, func(tx redis.Pipeliner) { tx.Del(s.Context(), transfers.Name); s.addLower(tx, 5) })
		},
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode: behindPosition(stream.LossAhead, "1-0", idle, busy, stopped),
		},
	},
	{
		name: "another stream, with XSETID forward",
		harm: func(s *stage) {
			s.atOnce(0, func(tx redis.Pipeliner) {
				tx.Del(s.Context(), transfers.Name)
				s.addLower(tx, 5)
				tx.Do(s.Context(), "XSETID", transfers.Name, id(s.n+1000))
			})
		},
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode: behindPosition(stream.LossReplaced, "1-0", idle, busy, stopped),
		},
	},
	{
		name: "XGROUP SETID forward",
		harm: func(s *stage) {
			s.atOnce(10, func(tx redis.Pipeliner) { tx.XGroupSetID(s.Context(), transfers.Name, group, id(s.n)) })
		},
		patient: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			groupMode: all(func(s *stage, p *party) stream.LossError {
				return stream.LossError{Cause: stream.LossMoved, From: p.position, To: id(s.n), Count: mostMoved(p, s.n)}
			}, idle, busy),
		},
		silent: map[mode]map[state]string{groupMode: {stopped: "the group's place was all that there was to know it by"}},
	},
	{
		name: "XGROUP SETID forward, and more entries",
		harm: func(s *stage) {
			s.atOnce(10, func(tx redis.Pipeliner) {
				tx.XGroupSetID(s.Context(), transfers.Name, group, id(s.n))
				s.add(tx, 5)
			})
		},
		patient: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			groupMode: {
				idle: func(s *stage, p *party) stream.LossError { // by now Redis knows its counter again
					return stream.LossError{Cause: stream.LossMoved, From: p.position, To: id(s.n), Count: 10, Exact: true}
				},
				busy: func(s *stage, p *party) stream.LossError {
					return stream.LossError{Cause: stream.LossMoved, From: p.position, To: id(s.n - 5), Count: mostMoved(p, s.n)}
				},
			},
		},
		silent: map[mode]map[state]string{groupMode: {stopped: "the group's place was all that there was to know it by"}},
	},
	{
		name: "the same IDs, with other entries",
		harm: func(s *stage) {
			s.atOnce(0, func(tx redis.Pipeliner) {
				tx.Del(s.Context(), transfers.Name)
				for n := range s.n {
					tx.XAdd(s.Context(), &redis.XAddArgs{Stream: transfers.Name, ID: id(n + 1), Values: []any{"number", n, "account", "another", "secret", canary}})
				}
			})
		},
		outside: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode: behindPosition(stream.LossReplaced, id(1), idle, busy),
			groupMode: all(func(_ *stage, p *party) stream.LossError {
				return unknown(stream.LossRecreated, p.position, id(1))
			}, idle),
		},
		silent: map[mode]map[state]string{
			logMode:   {stopped: "of what was read, an ID is all that the store keeps"},
			groupMode: {stopped: noMemory},
		},
	},
	{
		name: "stream and group are made again in one step",
		harm: func(s *stage) {
			s.atOnce(0, func(tx redis.Pipeliner) {
				tx.Del(s.Context(), transfers.Name)
				s.add(tx, 5)
				tx.XGroupCreate(s.Context(), transfers.Name, group, "0")
			})
		},
		patient: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			groupMode: {
				idle: func(_ *stage, p *party) stream.LossError {
					return unknown(stream.LossRecreated, p.position, "")
				},
				busy: func(s *stage, p *party) stream.LossError {
					return unknown(stream.LossRecreated, p.position, id(s.n-4))
				},
			},
		},
		silent: map[mode]map[state]string{groupMode: {stopped: noMemory}},
	},
	{
		name: "XGROUP SETID ahead of the stream",
		harm: func(s *stage) {
			s.atOnce(0, func(tx redis.Pipeliner) { tx.XGroupSetID(s.Context(), transfers.Name, group, id(9_999_999)) })
			s.add(s.admin, 10)
		},
		patient: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			groupMode: {
				idle: func(s *stage, p *party) stream.LossError {
					return unknown(stream.LossAhead, id(9_999_999), id(known+1))
				},
				busy: func(s *stage, p *party) stream.LossError {
					return unknown(stream.LossAhead, id(9_999_999), id(number(p.position)+1))
				},
				stopped: func(s *stage, p *party) stream.LossError {
					return unknown(stream.LossAhead, id(9_999_999), id(1))
				},
			},
		},
	},
	{
		name: "the clock goes back after FLUSHALL",
		harm: func(s *stage) {
			s.atOnce(0, func(tx redis.Pipeliner) { tx.FlushAll(s.Context()); s.addLower(tx, 5) })
		},
		outside: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode:   behindPosition(stream.LossAhead, "1-0", idle, busy, stopped),
			groupMode: behindPosition(stream.LossRecreated, "1-0", idle, busy),
		},
		silent: map[mode]map[state]string{groupMode: {stopped: noMemory}},
	},
	{
		name: "XGROUP DELCONSUMER, with entries pending",
		harm: func(s *stage) {
			s.atOnce(0, func(tx redis.Pipeliner) { tx.XGroupDelConsumer(s.Context(), transfers.Name, group, "one") })
		},
		patient: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			groupMode: all(func(s *stage, p *party) stream.LossError {
				return unknown(stream.LossConsumer, id(known+1), p.position)
			}, busy),
		},
		silent: map[mode]map[state]string{groupMode: {idle: "nothing is pending", stopped: "what is pending on it was all that there was to know it by"}},
	},
	{
		name: "XGROUP DESTROY",
		harm: func(s *stage) {
			s.atOnce(5, func(tx redis.Pipeliner) { tx.XGroupDestroy(s.Context(), transfers.Name, group) })
		},
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			groupMode: all(func(s *stage, p *party) stream.LossError {
				return unknown(stream.LossGroup, p.position, id(number(p.position)+1))
			}, idle, busy),
		},
		silent: map[mode]map[state]string{groupMode: {stopped: noMemory}},
	},
	{
		name:    "a demoted master answers",
		harm:    func(s *stage) { s.admin.Do(s.Context(), "REPLICAOF", "127.0.0.1", "1") },
		trouble: "replica",
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode:   all(nil, idle, busy, stopped),
			groupMode: all(nil, idle, busy, stopped),
		},
	},
	{
		name:    "a restart with a truncated AOF",
		harm:    truncate,
		outside: true,
		more:    10,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode: all(func(_ *stage, p *party) stream.LossError {
				return unknown(stream.LossAhead, p.position, id(1))
			}, idle, busy, stopped),
			groupMode: all(func(_ *stage, p *party) stream.LossError {
				if to := p.losses[0].To; number(to) > known && number(to) <= known+5 {
					return unknown(stream.LossAhead, p.position, to) // a look around was faster than the read that failed: the group's next
				}
				return unknown(stream.LossAhead, p.position, id(1))
			}, idle, busy),
		},
		silent: map[mode]map[state]string{groupMode: {stopped: "the group's place has gone back with the stream"}},
	},
}

// addLower adds entries with the IDs that a clock gives which has gone back.
func (s *stage) addLower(client redis.Cmdable, n int) {
	for i := range n {
		s.addAs(client, fmt.Sprintf("%d-0", i+1))
	}
}

// evict has the server run out of memory.
func evict(s *stage) {
	config := func(name, value string) {
		if err := s.admin.ConfigSet(s.Context(), name, value).Err(); err != nil {
			s.Fatal(err)
		}
	}
	config("maxmemory-policy", "allkeys-lru")
	config("maxmemory", "1")
	err := s.admin.Set(s.Context(), "other", "key", 0).Err()
	config("maxmemory", "0")
	// It is the only key that there is; the group may have been made again already.
	if info := s.admin.Info(s.Context(), "stats").Val(); !redis.IsOOMError(err) || strings.Contains(info, "evicted_keys:0\r") {
		s.Fatalf("%s: the stream was not evicted: %v", s, err)
	}
}

// truncate restarts the server without the last entries that it had acknowledged, as after
// a power cut that has torn the file.
func truncate(s *stage) {
	dir := s.admin.ConfigGet(s.Context(), "dir").Val()["dir"]
	files, err := filepath.Glob(filepath.Join(dir, "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) != 1 {
		s.Fatalf("the append-only files are %v, %v", files, err)
	}
	log, err := os.ReadFile(files[0])
	if err != nil {
		s.Fatal(err)
	}
	s.server.Kill()
	// In the middle of the command that has added this one.
	at := strings.Index(string(log), id(known+5))
	if err := os.Truncate(files[0], int64(at)+3); err != nil {
		s.Fatal(err)
	}
	s.server.Start()
	if n := s.admin.XLen(s.Context(), transfers.Name).Val(); n != known+4 {
		s.Fatalf("%s: the stream has %d entries after the restart", s, n)
	}
}
