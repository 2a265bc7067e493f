package stream

import (
	"errors"
	"reflect"
	"strings"
	"time"

	"millrace/stream/internal/contain"
	"millrace/stream/internal/task"
)

// Observer is told the events of a consumer, so that metrics and traces can be made of them. It
// is a value of any type that has one or more of the methods of [DeliveryObserver],
// [EndObserver], [ReadObserver], [SettleObserver], [ClaimObserver], [LossObserver],
// [TroubleObserver], [RecoveryObserver] and [FullObserver]. See [WithObserver].
//
// The methods are called where the thing happens, by several goroutines at once,
// and the consumer waits for them: they must be safe for concurrent use, and quick.
// They may call [Consumer.Stats] and [Consumer.Health]. A panic is logged, and
// changes nothing; so is runtime.Goexit, but that the first one may have an entry
// delivered again.
//
// A value for the context of a handler, such as a span, is for a [Middleware].
type Observer interface{}

// DeliveryObserver is an [Observer] of deliveries, as they begin.
type DeliveryObserver interface{ OnDelivery(DeliveryBegun) }

// EndObserver is an [Observer] of deliveries, as they end.
type EndObserver interface{ OnEnd(DeliveryEnded) }

// ReadObserver is an [Observer] of reads that brought something.
type ReadObserver interface{ OnRead(EntriesRead) }

// SettleObserver is an [Observer] of offsets saved and entries acked.
type SettleObserver interface{ OnSettle(EntriesSettled) }

// ClaimObserver is an [Observer] of entries that are taken over, in group mode.
type ClaimObserver interface{ OnClaim(EntriesClaimed) }

// LossObserver is an [Observer] of entries that Redis no longer has. The error is a
// [*LossError].
type LossObserver interface{ OnLoss(Identity, error) }

// TroubleObserver is an [Observer] of something that begins to fail. While it goes
// on failing, nothing more is told.
type TroubleObserver interface{ OnTrouble(Outage) }

// RecoveryObserver is an [Observer] of trouble that is over.
type RecoveryObserver interface{ OnRecovery(Outage) }

// FullObserver is an [Observer] of windows that are full, and have not moved for
// ten seconds; it is told again every ten seconds while that lasts.
type FullObserver interface{ OnFull(WindowFull) }

// Identity says which consumer it is.
type Identity struct {
	// Stream is the topic's name.
	Stream string
	// Label is set in log mode, Group in group mode.
	Label, Group string
	// Consumer is the name in the group, empty in log mode. Without [WithConsumerName] it is
	// made when Run starts, and is empty before.
	Consumer string
}

// Address names the group or label without its stream, as [HeaderFor] does: group:billing, or
// label:search.
func (i Identity) Address() string {
	if i.Group != "" {
		return "group:" + i.Group
	}
	return "label:" + i.Label
}

// DeliveryBegun is an entry that is about to be processed.
type DeliveryBegun struct {
	Identity
	EntryID string
	Attempt int64 // 1 is the first; see [Entry]
}

// DeliveryEnded is the result of a delivery, with the event of its beginning.
type DeliveryEnded struct {
	DeliveryBegun
	Outcome Outcome
	// Duration is how long the middleware and the handler took.
	Duration time.Duration
	// Err is their error. The text of a handler's own errors is in there, too.
	Err error
}

// EntriesRead is a read that brought entries.
type EntriesRead struct {
	Identity
	Entries int
	LastID  string
	// Duration is how long it took from asking to the entries. Where Waited is set, the read
	// would have waited for entries if there had been none, so that Duration is mostly such a
	// wait while there is little to read.
	Duration time.Duration
	Waited   bool
}

// EntriesSettled is a number of entries whose processing has ended, and that it was
// recorded: by an offset in log mode, by acks in group mode. In group mode an entry
// whose dead letter was written and acked in one step is in none.
type EntriesSettled struct {
	Identity
	Entries int
	// LastID is the offset that was saved; empty in group mode.
	LastID string
	// Duration is how long it took, failures included.
	Duration time.Duration
}

// EntriesClaimed is a number of entries that became this consumer's.
type EntriesClaimed struct {
	Identity
	Entries int
	// HandedBack says that their consumer gave them back when it stopped; if it is
	// false, it seems to have died.
	HandedBack bool
}

// Outage is something that fails and is tried again until it works.
type Outage struct {
	Identity
	// What names the thing that fails: "reading", "saving the offset", "acking entries",
	// "writing to the dead letters" and others, for people.
	What string
	// Err is the last error. Where people have to mend something, its text begins with that.
	Err error
	// Failures is how often it has failed.
	Failures int64
	Since    time.Time
}

// WindowFull is a window that is full and does not move.
type WindowFull struct {
	Identity
	// EntryID is the entry in the way, the oldest that is not settled.
	EntryID string
	// Size is the window's; see [WithWindow].
	Size int
	// Bytes is the size of the fields that it holds, and SizeBytes the limit; it is full of
	// them from one half on. See [WithWindowBytes].
	Bytes, SizeBytes int64
}

// WithObserver has the consumer tell observers its events. Default: none, which costs nothing.
// An [Observer] with none of the methods is refused, nil included, and so is one that has a
// method of such a name with other parameters or results, or with a pointer as its receiver
// where a value is given. Given more than once, all are told, in order. One observer may serve
// many consumers: each event says whose it is.
func WithObserver(list ...Observer) Option {
	return option{"WithObserver", anyConsumer, func(c *config) {
		for _, observer := range list {
			if err := c.observers.add(observer); err != nil {
				c.problems = append(c.problems, err)
			}
		}
	}}
}

// observers has each observer in the lists of its events: whether one wants to know is looked
// up for every entry.
type observers struct {
	delivery []DeliveryObserver
	end      []EndObserver
	read     []ReadObserver
	settle   []SettleObserver
	claim    []ClaimObserver
	loss     []LossObserver
	trouble  []TroubleObserver
	recovery []RecoveryObserver
	full     []FullObserver
}

// add enlists an observer for each of the methods that it has. It returns the problems of
// the observer.
func (o *observers) add(observer Observer) error {
	if contain.IsNil(observer) {
		return noObserver(observer)
	}
	var found methods
	enlist(&o.delivery, observer, &found)
	enlist(&o.end, observer, &found)
	enlist(&o.read, observer, &found)
	enlist(&o.settle, observer, &found)
	enlist(&o.claim, observer, &found)
	enlist(&o.loss, observer, &found)
	enlist(&o.trouble, observer, &found)
	enlist(&o.recovery, observer, &found)
	enlist(&o.full, observer, &found)
	if len(found.byPointer) > 0 {
		found.problems = append(found.problems, invalid("WithObserver: a %T lacks methods that a pointer to it has: %s; give a *%[1]T", observer, strings.Join(found.byPointer, ", ")))
	}
	if found.fit == 0 && len(found.problems) == 0 {
		return noObserver(observer)
	}
	return errors.Join(found.problems...)
}

func noObserver(observer Observer) error {
	return invalid("WithObserver: a %T has none of the methods of an observer; give one, such as OnEnd(stream.DeliveryEnded)", observer)
}

// methods is the result of the search for an observer's methods.
type methods struct {
	fit       int      // the number of those that will be called
	byPointer []string // the signatures of those that only a pointer has
	problems  []error
}

// enlist adds an observer to a list if it has the list's method. A method of that name
// with another signature would never be called: it is a problem.
func enlist[O any](list *[]O, observer Observer, found *methods) {
	if one, ok := observer.(O); ok {
		*list = append(*list, one)
		found.fit++
		return
	}
	wanted, given := reflect.TypeFor[O]().Method(0), reflect.TypeOf(observer)
	signature := wanted.Name + strings.TrimPrefix(wanted.Type.String(), "func")
	if given.Kind() != reflect.Pointer { // the methods of a pointer are those of its value, too
		given = reflect.PointerTo(given)
	}
	method, ok := given.MethodByName(wanted.Name)
	switch {
	case !ok:
	case given.Implements(reflect.TypeFor[O]()):
		found.byPointer = append(found.byPointer, signature)
	default:
		found.problems = append(found.problems, invalid("WithObserver: a %T has the method %s, which would never be called; make it %s, or give it another name", observer, signatureOf(method), signature))
	}
}

// signatureOf returns the parameters and results of a method, without its receiver.
func signatureOf(method reflect.Method) string {
	of := method.Type
	in, out := make([]reflect.Type, 0, of.NumIn()), make([]reflect.Type, 0, of.NumOut())
	for i := 1; i < of.NumIn(); i++ {
		in = append(in, of.In(i))
	}
	for i := range of.NumOut() {
		out = append(out, of.Out(i))
	}
	return method.Name + strings.TrimPrefix(reflect.FuncOf(in, out, of.IsVariadic()).String(), "func")
}

// tell calls observers one after the other. It must not be called with a lock held:
// they may ask for Stats.
func tell[O any](e *engine, list []O, call func(O)) {
	for _, one := range list {
		tellElsewhere(e, one, call)
	}
}

// tellHere is tell for events of every entry: on the worker's own goroutine,
// unless an observer has ended that once. The call is a method expression, which
// allocates nothing.
func tellHere[O, E any](e *engine, list []O, event E, call func(O, E)) {
	for _, one := range list {
		if e.meter.exited.Load() {
			tellElsewhere(e, one, func(o O) { call(o, event) })
		} else {
			tellOne(e, one, event, call)
		}
	}
}

func tellElsewhere[O any](e *engine, one O, call func(O)) {
	err := isolated(func() error {
		call(one)
		return nil
	})
	if err != nil {
		e.complain(err)
	}
}

func tellOne[O, E any](e *engine, one O, event E, call func(O, E)) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if value := recover(); value != nil {
			e.complain(newPanicError(value))
			return
		}
		e.meter.exited.Store(true)
		e.complain(contain.ErrGoexit)
	}()
	call(one, event)
	returned = true
}

// complain logs that an observer failed, but not each time: it may do so with every
// entry.
func (e *engine) complain(err error) {
	now, last := time.Now().UnixNano(), e.meter.panicked.Load()
	if last != 0 && now-last < int64(task.LogInterval) || !e.meter.panicked.CompareAndSwap(last, now) {
		return
	}
	log := e.log
	if panicked := (*PanicError)(nil); errors.As(err, &panicked) {
		log = log.With("stack", string(panicked.Stack))
	}
	log.Error("an observer panicked; it should be mended, and changes nothing here", "err", err)
}
