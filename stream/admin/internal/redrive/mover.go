package redrive

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/admin/internal/entries"
	"millrace/stream/admin/internal/letters"
	"millrace/stream/internal/conn"
)

// Job is a redrive of letters that were planned. It is for one goroutine.
type Job struct {
	// Source has the server of the letters, and Dead is their key.
	Source redis.UniversalClient
	Dead   string
	// Client has the server of Target, the stream that gets the entries. Apart says that it is
	// another one than that of the letters.
	Client redis.UniversalClient
	Target string
	Apart  bool
	// Topic is the stream that the letters' entries came from.
	Topic   string
	Letters []letters.Planned
	// MaxRedrives is how often an entry may be redriven; the script keeps letters above it.
	MaxRedrives int
	// To is the address of the reader that gets the entries. Empty is the one that gave each up,
	// and [Everybody] stands for all.
	To string
	// Addresses has how many of the letters are for each address, and Seen the readers of the
	// target as they were when that was planned.
	Addresses map[string]int64
	Seen      Readers
	// Edited are the pairs that replace those of the one letter of an edit; nil is none.
	Edited []string

	// Rate is how many letters are moved in a second at most, and Behind how far a reader may be
	// behind for more to be moved; 0 is no limit.
	Rate   int
	Behind int64
	// Tell is called now and then with how far it is.
	Tell func(Progress)
	// Returned makes the error that ends the job when so many of its last entries have come back
	// as letters.
	Returned func(returned, of int) error
}

// Everybody is the address that stands for all readers.
const Everybody = "*"

// Progress is how far a job is.
type Progress struct {
	Done int64
	// Behind is how far the readers are behind, -1 if that is not known.
	Behind   int64
	Returned int64
	Waiting  string
}

// Done is the result of a job.
type Done struct {
	Ended
	// Returned is how many of the entries have come back as letters.
	Returned int64
}

// AddressOf returns the address of the reader that gets the entry of a letter. It is empty if
// all readers get it.
func (j *Job) AddressOf(letter *letters.Letter) string {
	switch j.To {
	case Everybody:
		return ""
	case "":
		return letter.Address()
	default:
		return j.To
	}
}

// mover does a job. It is for one goroutine.
type mover struct {
	*Job
	work
	pace    pace
	returns returns
	// apart is set once the server has said that the two streams are in different slots, or
	// from the start if they are on two servers: letters are moved in two steps then.
	apart    bool
	reported time.Time
}

// reportEvery is how often progress is told.
const reportEvery = 200 * time.Millisecond

// Do moves the letters, and then asks the server which of them are left. The result says what was
// done, also with an error: of ctx, of the server, or that the readers do not stand it.
func (j *Job) Do(ctx context.Context) (Done, error) {
	m := &mover{
		Job: j, apart: j.Apart,
		work:    work{planned: j.Letters},
		pace:    pace{rate: j.Rate, behind: j.Behind, lag: -1},
		returns: returns{after: "-"},
	}
	if n := len(j.Letters); n > 0 {
		m.returns.after = "(" + j.Letters[n-1].ID
	}
	err := m.run(ctx)
	after := context.WithoutCancel(ctx)
	how, asking := m.outcome(after, j.Source, j.Dead)
	if err := m.lookForReturns(after); err != nil {
		asking = errors.Join(asking, err)
	}
	m.tell("")
	return Done{how, m.returns.count}, errors.Join(err, asking)
}

// run moves page after page.
func (m *mover) run(ctx context.Context) error {
	if m.Behind > 0 && len(m.planned) > 0 && !m.forGroups() {
		return errors.New("WaitWhileBehind knows how far groups are behind, and the letters are of no single group; use Rate")
	}
	for m.next < len(m.planned) {
		n, err := m.await(ctx)
		if err != nil {
			return err
		}
		some := page(m.planned[m.next:], n)
		if err := m.movePage(ctx, some); err != nil {
			return err
		}
		m.pace.moved(len(some), time.Now())
		if time.Since(m.reported) >= reportEvery {
			m.tell("")
		}
	}
	return nil
}

// movePage moves letters in one step, or one letter in two.
func (m *mover) movePage(ctx context.Context, some []letters.Planned) error {
	if !m.apart {
		err := m.step(ctx, m.Source, some, m.moveTogether)
		if conn.Classify(err).Code != "CROSSSLOT" {
			return err
		}
		m.apart = true
	}
	for i := range some {
		if err := m.step(ctx, m.Client, some[i:i+1], m.moveApart); err != nil {
			return err
		}
	}
	return nil
}

// moveTogether moves letters by one script.
func (m *mover) moveTogether(ctx context.Context, some []letters.Planned) (a answered, err error) {
	move, args := scriptRedrive, arguments(some, m.MaxRedrives, m.To)
	if m.Edited != nil {
		move, args = scriptEdit, arguments(some)
		for _, text := range m.Edited {
			args = append(args, text)
		}
	}
	answers, err := move.Run(ctx, m.Source, []string{m.Dead, m.Target}, args...).StringSlice()
	if err != nil {
		return a, err
	}
	if len(answers) == 0 || len(answers) > len(some) {
		return a, entries.ErrReply
	}
	for _, answer := range answers {
		a.letters++
		switch answer {
		case "gone":
			a.gone++
		case "kept":
		default:
			a.moved++
			m.returns.expect(answer)
		}
	}
	return a, nil
}

// onceKept is how long a key is kept that says that a letter was moved.
const onceKept = 24 * time.Hour

// moveApart moves one letter in two steps: it is published with a key, and then deleted. Both
// can be repeated.
func (m *mover) moveApart(ctx context.Context, some []letters.Planned) (a answered, err error) {
	a.letters = 1
	id, err := offset.Parse(some[0].ID)
	if err != nil {
		return a, err
	}
	found, err := entries.ByIDs(ctx, m.Source, m.Dead, []offset.ID{id})
	if err != nil {
		return a, err
	}
	var letter letters.Letter
	there := false
	if len(found) == 1 {
		letter, there = letters.Of(found[0])
	}
	if !there || letter.Last != some[0].Last {
		a.gone = 1
		return a, nil
	}
	pairs := m.Edited
	if pairs == nil {
		pairs = letter.Restored(m.AddressOf(&letter))
	}
	args := []any{onceKept.Milliseconds(), "*"}
	for _, text := range pairs {
		args = append(args, text)
	}
	entry, err := publishOnce.Run(ctx, m.Client, []string{m.Target, m.onceKey(letter.ID)}, args...).Text()
	if err != nil {
		return a, err
	}
	deleted, err := conn.DoOnce(ctx, m.Source, "xdel", m.Dead, letter.ID).Int64()
	if err != nil {
		return a, err
	}
	a.moved, a.gone = int(deleted), 1-int(deleted)
	m.returns.expect(entry)
	return a, nil
}

// onceKey returns the key that says that a letter was moved. In a cluster it is in the slot of
// the stream that gets the entry.
func (m *mover) onceKey(letter string) string {
	return strings.TrimSuffix(stream.DeadLetterStream(m.Target), ":dead") + ":once:redrive:" + m.Dead + ":" + letter
}
