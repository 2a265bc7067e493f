package admin

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/task"
)

// The scripts work on letters that a plan has chosen, each given by its ID and the value of its
// last field: a letter that was deleted, or is another one now, is left out. They are here, as
// no other package uses them.
var (
	// scriptRedrive moves the letters in KEYS[1] to the stream in KEYS[2], as entries for the
	// reader whose address is in ARGV[2]: empty is the one that gave it up, and * stands for all.
	// A letter that was redriven as often as ARGV[1] says is kept. The answer has a text for each
	// letter: the ID of the entry, gone or kept. An XADD that is refused ends it: the answers
	// are those before, or the refusal itself if nothing was moved.
	scriptRedrive = conn.NewOnceScript(redriveSource)
	// scriptEdit moves one letter, in ARGV[1] and ARGV[2], with the fields in ARGV[3] and on.
	scriptEdit = conn.NewOnceScript(editSource)
	// scriptDrop deletes letters, and returns how many it has deleted.
	scriptDrop = conn.NewOnceScript(dropSource)
	// scriptLeft returns how many of the letters are there.
	scriptLeft = redis.NewScript(leftSource)

	//go:embed redrive.lua
	redriveSource string
	//go:embed edit.lua
	editSource string
	//go:embed drop.lua
	dropSource string
	//go:embed left.lua
	leftSource string
)

// A page has the letters that one script moves. 25 letters take the server less than half a
// millisecond, in which all other clients wait. Pages of a hundred are no faster all in all
// (300,000 letters in 10 to 11 seconds), and the 99th percentile of a consumer beside them was
// 6 ms, in place of 2.
const (
	pageMost  = 25
	pageBytes = 128 << 10
)

// widest is how many names and values an entry may have that a script adds, with some room:
// Lua's unpack takes less than 8000.
const widest = 7000

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
func page(letters []plannedLetter, n int) []plannedLetter {
	size := 0
	for i := range letters {
		if size += letters[i].size; i == n || i > 0 && size > pageBytes {
			return letters[:i]
		}
	}
	return letters
}

// arguments returns the IDs and last values of letters, behind other arguments.
func arguments(letters []plannedLetter, before ...any) []any {
	args := make([]any, 0, len(before)+2*len(letters))
	args = append(args, before...)
	for i := range letters {
		args = append(args, letters[i].id, letters[i].last)
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
func (a *Admin) left(ctx context.Context, dead string, letters []plannedLetter) (n int64, err error) {
	for len(letters) > 0 {
		some := letters[:min(len(letters), leftMost)]
		letters = letters[len(some):]
		err := persist(ctx, a.client, askPatience, func(ctx context.Context) error {
			there, err := scriptLeft.Run(ctx, a.client, []string{dead}, arguments(some)...).Int64()
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

// progress is how far a change has come with the letters of its plan.
type progress struct {
	planned []plannedLetter
	next    int   // the first letter that has no answer yet
	moved   int64 // as answers have said
	gone    int64 // that were gone, and not by us
	unsure  int64 // that were gone after an answer was lost
	// doubtful are the letters of a page that was given up after an answer was lost.
	doubtful []plannedLetter
}

// answered is the answer to a try: how many of the letters, from the first one on, it is
// about, how many of them it has moved, and how many were gone.
type answered struct{ letters, moved, gone int }

// step has a page worked on until the server has answered for all of it.
func (p *progress) step(ctx context.Context, client redis.UniversalClient, some []plannedLetter, try func(context.Context, []plannedLetter) (answered, error)) error {
	lost := false
	for len(some) > 0 {
		var a answered
		err := persist(ctx, client, patience, func(ctx context.Context) (err error) {
			a, err = try(ctx, some)
			return err
		}, func() { lost = true })
		if err != nil {
			if lost {
				p.doubtful = some
			}
			return err
		}
		p.next += a.letters
		p.moved += int64(a.moved)
		if lost {
			p.unsure += int64(a.gone)
		} else {
			p.gone += int64(a.gone)
		}
		some = some[a.letters:]
	}
	return nil
}

// ended has the final numbers of a plan's letters.
type ended struct{ moved, unsure, gone, left int64 }

// outcome asks the server which letters are left, and returns the final numbers. Without an
// answer they are those of the answers so far.
func (p *progress) outcome(ctx context.Context, a *Admin, dead string) (ended, error) {
	// Letters that have an answer, or may have been moved without one.
	tried, rest := p.planned[:p.next+len(p.doubtful)], p.planned[p.next+len(p.doubtful):]
	var there [3]int64
	var err error
	for i, letters := range [][]plannedLetter{p.doubtful, tried, rest} {
		if there[i], err = a.left(ctx, dead, letters); err != nil {
			break
		}
	}
	doubtful, leftOfTried, leftOfRest := there[0], there[1], there[2]
	if err != nil {
		moved := p.moved + p.unsure
		return ended{moved, p.unsure, p.gone, int64(len(p.planned)) - moved - p.gone}, fmt.Errorf("it is not known exactly what is left: %w", err)
	}
	return ended{
		moved:  int64(len(tried)) - leftOfTried - p.gone,
		unsure: p.unsure + int64(len(p.doubtful)) - doubtful,
		gone:   p.gone + int64(len(rest)) - leftOfRest,
		left:   leftOfTried + leftOfRest,
	}, nil
}
