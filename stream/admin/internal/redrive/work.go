package redrive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/admin/internal/letters"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/task"
)

// A page has the letters that one script moves. 25 letters take the server less than half a
// millisecond, in which all other clients wait. Pages of a hundred are no faster all in all
// (300,000 letters in 10 to 11 seconds), and the 99th percentile of a consumer beside them was
// 6 ms, in place of 2.
const (
	pageMost  = 25
	pageBytes = 128 << 10
)

// Widest is how many names and values an entry may have that a script adds, with some room:
// Lua's unpack takes less than 8000.
const Widest = 7000

// leftMost is how many letters scriptLeft is asked for, which takes about a millisecond.
const leftMost = 500

// patience is how long a server may not answer, or be about to fail over, before a change is
// given up. It is more than an election takes.
const patience = 30 * time.Second

// askPatience is how long a server may not answer the question which letters are left. The
// change itself has waited for it already.
const askPatience = 5 * time.Second

// tryTime limits one try. A try does not end with the context of Do: the server would finish it
// all the same, and its result would be unknown.
const tryTime = 10 * time.Second

// page returns the first of the letters, at most n, that go into one script.
func page(list []letters.Planned, n int) []letters.Planned {
	size := 0
	for i := range list {
		if size += list[i].Size; i == n || i > 0 && size > pageBytes {
			return list[:i]
		}
	}
	return list
}

// arguments returns the IDs and last values of letters, behind other arguments.
func arguments(list []letters.Planned, before ...any) []any {
	args := make([]any, 0, len(before)+2*len(list))
	args = append(args, before...)
	for i := range list {
		args = append(args, list[i].ID, list[i].Last)
	}
	return args
}

// persist tries something until the server has answered. lost is told of a try of which it is
// not known whether the server has done it. The error is the server's refusal; that of ctx,
// which ends no try; or the last failure, when patience has run out.
func persist(ctx context.Context, client redis.UniversalClient, patience time.Duration, try func(context.Context) error, lost func()) error {
	var since time.Time
	for failures := int64(1); ; failures++ {
		trying, cancel := context.WithTimeout(context.WithoutCancel(ctx), tryTime)
		err := try(trying)
		unknown := err != nil && !conn.NeverRan(trying, err)
		cancel()
		if unknown {
			lost()
		}
		if err == nil || !passes(err) {
			return conn.Explain(err)
		}
		conn.Relocate(client, err)
		if failures == 1 {
			since = time.Now()
		}
		if time.Since(since) > patience {
			return fmt.Errorf("the server does not answer as it should since %v: %w", patience, err)
		}
		if !task.Sleep(ctx, task.Recovery.Delay(failures)) {
			return ctx.Err()
		}
	}
}

// passes reports whether an error is one that passes by itself: no answer, or that of a server
// which starts, or changes its role.
func passes(err error) bool {
	if errors.Is(err, redis.ErrClosed) {
		return false
	}
	v := conn.Classify(err)
	switch v.Code {
	case "":
		return v.Class != conn.Final
	case "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "NOREPLICAS", "BUSY":
		return true
	default:
		return false
	}
}

// left asks the server how many of the letters are still there.
func left(ctx context.Context, client redis.UniversalClient, dead string, list []letters.Planned) (n int64, err error) {
	for len(list) > 0 {
		some := list[:min(len(list), leftMost)]
		list = list[len(some):]
		err := persist(ctx, client, askPatience, func(ctx context.Context) error {
			there, err := scriptLeft.Run(ctx, client, []string{dead}, arguments(some)...).Int64()
			if err == nil {
				n += there
			}
			return err
		}, func() {})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// work is how far a change has come with the letters of its plan.
type work struct {
	planned []letters.Planned
	next    int   // the first letter that has no answer yet
	moved   int64 // as answers have said
	gone    int64 // that were gone, and not by us
	unsure  int64 // that were gone after an answer was lost
	// doubtful are the letters of a page that was given up after an answer was lost.
	doubtful []letters.Planned
}

// answered is the answer to a try: how many of the letters, from the first one on, it is
// about, how many of them it has moved, and how many were gone.
type answered struct{ letters, moved, gone int }

// step has a page worked on until the server has answered for all of it.
func (w *work) step(ctx context.Context, client redis.UniversalClient, some []letters.Planned, try func(context.Context, []letters.Planned) (answered, error)) error {
	lost := false
	for len(some) > 0 {
		var a answered
		err := persist(ctx, client, patience, func(ctx context.Context) (err error) {
			a, err = try(ctx, some)
			return err
		}, func() { lost = true })
		if err != nil {
			if lost {
				w.doubtful = some
			}
			return err
		}
		w.next += a.letters
		w.moved += int64(a.moved)
		if lost {
			w.unsure += int64(a.gone)
		} else {
			w.gone += int64(a.gone)
		}
		some = some[a.letters:]
	}
	return nil
}

// Ended has the final numbers of a plan's letters.
type Ended struct {
	// Moved is how many were moved or deleted. Unsure of them others may have taken, as an answer
	// was lost.
	Moved, Unsure int64
	// Gone is how many were gone before, and Left how many are still there.
	Gone, Left int64
}

// outcome asks the server which letters are left, and returns the final numbers. Without an
// answer they are those of the answers so far.
func (w *work) outcome(ctx context.Context, client redis.UniversalClient, dead string) (Ended, error) {
	// Letters that have an answer, or may have been moved without one.
	tried, rest := w.planned[:w.next+len(w.doubtful)], w.planned[w.next+len(w.doubtful):]
	var there [3]int64
	var err error
	for i, list := range [][]letters.Planned{w.doubtful, tried, rest} {
		if there[i], err = left(ctx, client, dead, list); err != nil {
			break
		}
	}
	doubtful, leftOfTried, leftOfRest := there[0], there[1], there[2]
	if err != nil {
		moved := w.moved + w.unsure
		return Ended{moved, w.unsure, w.gone, int64(len(w.planned)) - moved - w.gone}, fmt.Errorf("it is not known exactly what is left: %w", err)
	}
	return Ended{
		Moved:  int64(len(tried)) - leftOfTried - w.gone,
		Unsure: w.unsure + int64(len(w.doubtful)) - doubtful,
		Gone:   w.gone + int64(len(rest)) - leftOfRest,
		Left:   leftOfTried + leftOfRest,
	}, nil
}
