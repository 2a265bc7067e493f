package faults_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-playground/validator/v10"
	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
	"millrace/stream/streamtest/history"
)

// parcel is what hostile entries are not.
type parcel struct {
	Number int       `mapstructure:"number" validate:"gte=0"`
	Small  int8      `mapstructure:"small"`
	Count  uint64    `mapstructure:"count"`
	Ratio  float64   `mapstructure:"ratio"`
	At     time.Time `mapstructure:"at"`
	Note   string    `mapstructure:"note" validate:"fragile"`
	Tags   []string  `mapstructure:"tags"`
	Secret string    `mapstructure:"secret" validate:"required"`
}

// document is the same as JSON.
type document struct {
	Number int            `json:"number" validate:"gte=0"`
	Small  int8           `json:"small"`
	Ratio  float64        `json:"ratio"`
	Note   string         `json:"note"`
	Tags   []string       `json:"tags"`
	Any    any            `json:"any"`
	Map    map[string]any `json:"map"`
	Secret string         `json:"secret" validate:"required"`
}

// explosive is a codec that does not survive some entries.
type explosive[T any] struct{ codec.Codec[T] }

func (c explosive[T]) Decode(fields codec.Fields) (T, error) {
	if how, _ := fields.Get("codec"); how == "explodes" {
		panic("the codec's own words")
	}
	return c.Codec.Decode(fields)
}

var (
	parcels = stream.Topic[parcel]{Name: transfers.Name, Codec: explosive[parcel]{codec.Struct[parcel](
		codec.WithValidation("fragile", func(level validator.FieldLevel) bool {
			if level.Field().String() == "explodes" {
				panic(canary)
			}
			return true
		}),
	)}}
	documents = stream.Topic[document]{Name: transfers.Name, Codec: explosive[document]{codec.JSON[document]{}}}
)

// nature is what becomes of a hostile entry.
type nature int

const (
	malformed nature = iota // it cannot be decoded
	harmless                // it can
	breaking                // its handler panics, each time it comes
	tripping                // its handler panics the first time
	ending                  // its handler ends its goroutine the first time
)

// shape is a kind of hostile entry.
type shape struct {
	name   string
	nature nature
	// pairs of the entry; with its first %d a number, so that no two are alike.
	pairs []string
}

// with returns the pairs of a good entry with one replaced or, if there is none, added.
func with(pairs []string, name, value string) []string {
	pairs = slices.Clone(pairs)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] == name {
			pairs[i+1] = value
			return pairs
		}
	}
	return append(pairs, name, value)
}

// without returns the pairs without one.
func without(pairs []string, name string) []string {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] == name {
			return slices.Delete(slices.Clone(pairs), i, i+2)
		}
	}
	return pairs
}

// many returns pairs and a lot more.
func many(pairs []string, n int) []string {
	pairs = slices.Clone(pairs)
	for i := range n {
		pairs = append(pairs, fmt.Sprint("more-", i), "x")
	}
	return pairs
}

func goodParcel(n int) []string {
	return []string{
		"number", fmt.Sprint(n), "small", "7", "count", "18446744073709551615", "ratio", "0.5", "at", "2024-02-03T04:05:06Z",
		"note", "plain", "tags", `["a","b"]`, "secret", canary,
	}
}

func goodDocument(n int) []string {
	return []string{"payload", fmt.Sprintf(`{"number":%d,"small":7,"ratio":0.5,"note":"plain","tags":["a"],"any":1,"map":{"a":1},"secret":%q}`, n, canary)}
}

// shapesOfBoth are those that depend on no codec.
func shapesOfBoth(good []string) []shape {
	return []shape{
		{"none of the fields", malformed, []string{"other", "value"}},
		{"an empty name and value", malformed, []string{"", ""}},
		{"names that are bytes", malformed, []string{"\x00\xff", "\xff\x00", "\r\n", "\r\n$-1\r\n"}},
		{"a name of 100 KiB", malformed, []string{strings.Repeat("n", 100<<10), "v"}},
		{"a codec that panics", malformed, with(good, "codec", "explodes")},
		{"a codec that panics, and a thousand fields", malformed, many(with(good, "codec", "explodes"), 1000)},
		{"a codec that panics, and more fields than a script can pass on", malformed, many(with(good, "codec", "explodes"), 9000)},
		{"a codec that panics, and repeated fields", malformed, append(append([]string{"b", "2", "a", "1", "b", "3"}, with(good, "codec", "explodes")...), "a", "")},
		{"a codec that panics, and our own names", malformed, append(
			[]string{"millrace.id", "1-1", "millrace.stream", "elsewhere"}, append(with(good, "codec", "explodes"), "millrace.error", canary, "millrace.id", "")...)},
		{"our own names", harmless, append([]string{"millrace.id", "1-1", "millrace.attempts", "x"}, good...)},
		{"unknown fields", harmless, with(good, "unknown", "\x00")},
		{"a thousand fields", harmless, many(good, 1000)},
		{"five thousand fields", harmless, many(good, 5000)},
		{"a field twice", harmless, append(slices.Clone(good), good[0], good[1])},
		{"names in another case, too", harmless, with(good, strings.ToUpper(good[0]), "x")},
		{"an empty name, too", harmless, with(good, "", "")},
		{"RESP in a name", harmless, with(good, "*2\r\n$3\r\nfoo\r\n$-1\r\n>", "+OK\r\n")},
	}
}

func parcelShapes() []shape {
	good := goodParcel(0)
	shapes := shapesOfBoth(good)
	for _, number := range []string{
		"", " ", " 1", "1 ", "0x10", "0b1", "1_000", "1e3", "1.0", "NaN", "١", "-1", "--1", "9223372036854775808", "-9223372036854775809", "\x00", "1\x00", "\xff",
		strings.Repeat("9", 1<<20), "null", "true", "[1]",
	} {
		shapes = append(shapes, shape{fmt.Sprintf("the number %.20q", number), malformed, with(good, "number", number)})
	}
	for name, values := range map[string][]string{
		"small": {"128", "-129", "300", ""},
		"count": {"-1", "18446744073709551616", "1.5"},
		"ratio": {"NaN", "Inf", "-inf", "1e999", "0x1p-2", "1_0", ""},
		"at":    {"yesterday", "2024-02-30T00:00:00Z", "1706932800", ""},
		"tags": {
			"", "null", "[", `["a"`, `["a"]]`, "[1]", `{"a":1}`, `["\ud800"]`, "[\"\xff\"]",
			strings.Repeat("[", 100_000), strings.Repeat("[", 200) + strings.Repeat("]", 200), "[" + strings.Repeat("{},", 50_000) + "{}]",
		},
		"note":   {"explodes"},
		"secret": {""},
	} {
		for _, value := range values {
			shapes = append(shapes, shape{fmt.Sprintf("%s %.20q", name, value), malformed, with(good, name, value)})
		}
	}
	return append(
		shapes,
		shape{"a name in another case", malformed, append(without(good, "secret"), "SECRET", canary)},
		shape{"a name with a space", malformed, append(without(good, "secret"), "secret ", canary)},
		shape{"a field twice, and the second is wrong", malformed, append(slices.Clone(good), "number", "x")},
		shape{"leading zeros", harmless, with(good, "number", "0010")},
		shape{"a plus sign", harmless, with(good, "number", "+1")},
		shape{"a note of bytes", harmless, with(good, "note", "\x00\xff\xfe\r\n")},
		shape{"a note of RESP", harmless, with(good, "note", "$5\r\nhello\r\n*-1\r\n-ERR no\r\n")},
		shape{"a note of 1 MiB", harmless, with(good, "note", strings.Repeat("n", 1<<20))},
		shape{"a handler that panics", breaking, with(good, "note", "breaks")},
		shape{"a handler that panics once", tripping, with(good, "note", "trips")},
		shape{"a handler that ends its goroutine", ending, with(good, "note", "ends")},
	)
}

func documentShapes() []shape {
	good := goodDocument(0)
	payload := func(text string) []string { return []string{"payload", text} }
	shapes := shapesOfBoth(good)
	shapes = append(shapes, shape{"another case of the field", malformed, []string{"Payload", good[1]}})
	for _, text := range []string{
		"", " ", "null", "1", "[]", `"x"`, "{}", "{", good[1] + "x", good[1] + good[1], "\xef\xbb\xbf" + good[1], "\x00" + good[1],
		`{"number":1,"number":2,"secret":"x"}`, `{"number":1,"Number":2,"secret":"x"}`, `{"number":-1,"secret":"x"}`, `{"number":1.5,"secret":"x"}`,
		`{"number":1e400,"secret":"x"}`, `{"ratio":1e400,"secret":"x"}`, `{"number":9223372036854775808,"secret":"x"}`, `{"small":300,"secret":"x"}`,
		`{"number":"1","secret":"x"}`, `{"number":0x10,"secret":"x"}`, `{"number":01,"secret":"x"}`, `{"number":NaN,"secret":"x"}`,
		`{"tags":["a",null],"secret":"x"}`, `{"number":` + strings.Repeat("9", 10_000) + `,"secret":"x"}`,
		`{"note":"` + "\xff" + `","secret":"x"}`, `{"note":"\ud800","secret":"x"}`, `{"note":"` + "\x01" + `","secret":"x"}`,
		`{"map":{"a":1,"a":2},"secret":"x"}`, `{"map":[1],"secret":"x"}`, `{"tags":["a",1],"secret":"x"}`, `{"secret":1}`, `{"secret":""}`,
		`{"any":` + strings.Repeat("[", 101) + strings.Repeat("]", 101) + `,"secret":"x"}`, `{"any":` + strings.Repeat("[", 100_000),
		strings.Repeat(`{"any":`, 20_000), strings.Repeat("9", 1<<20), `{"secret":"x"`, `{'secret':'x'}`, `{"secret":"x",}`, `{"secret":"x"}//`,
	} {
		shapes = append(shapes, shape{fmt.Sprintf("the JSON %.30q", text), malformed, payload(text)})
	}
	return append(
		shapes,
		shape{"other members", harmless, payload(`{"other":{"a":[1]},"number":1,"secret":"x"}`)},
		shape{"a number that no float64 holds", harmless, payload(`{"any":[9007199254740993,` + strings.Repeat("9", 10_000) + `],"secret":"x"}`)},
		shape{"ninety levels", harmless, payload(`{"any":` + strings.Repeat("[", 90) + strings.Repeat("]", 90) + `,"secret":"x"}`)},
		shape{"a note of 1 MiB", harmless, payload(`{"note":"` + strings.Repeat("n", 1<<20) + `","secret":"x"}`)},
		shape{"a handler that panics", breaking, payload(`{"note":"breaks","secret":"x"}`)},
		shape{"a handler that panics once", tripping, payload(`{"note":"trips","secret":"x"}`)},
		shape{"a handler that ends its goroutine", ending, payload(`{"note":"ends","secret":"x"}`)},
	)
}

// Two hundred hostile entries among many good ones: all that can be handled is, all
// that cannot is reported with its ID, nobody waits long, and dead letters are what
// the entries were, byte for byte.
//
// It is alone in the process, because it looks at the heap.
func TestHostileEntries(t *testing.T) { //nolint:paralleltest // see above
	for _, m := range []mode{logMode, groupMode} {
		for _, letters := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, dead letters %t", m, letters), func(t *testing.T) {
				h := newHostile(t, m, letters, goodParcel, parcelShapes())
				runHostile(h, parcels, func(p *parcel) string { return p.Note })
			})
			t.Run(fmt.Sprintf("%s, dead letters %t, JSON", m, letters), func(t *testing.T) {
				h := newHostile(t, m, letters, goodDocument, documentShapes())
				runHostile(h, documents, func(d *document) string { return d.Note })
			})
		}
	}
}

// hostile is a stream with hostile entries in it.
type hostile struct {
	*trial
	t       *testing.T
	admin   *redis.Client
	letters bool // what cannot be handled becomes a dead letter
	ids     []string
	shapes  map[string]shape // by ID
	good    map[string]bool

	mu      sync.Mutex
	handled map[string]int
	last    time.Time
	gap     time.Duration // the longest between two deliveries
}

const hostileEntries = 200

func newHostile(t *testing.T, m mode, letters bool, good func(n int) []string, shapes []shape) *hostile {
	h := &hostile{trial: newTrial(t, m), t: t, letters: letters, shapes: make(map[string]shape), good: make(map[string]bool), handled: make(map[string]int)}
	h.admin = streamtest.StartRedis(t, append(withUsers(t, transfers.Name), "--appendonly", "no")...).Client()
	if !letters {
		// It would be held for ever, in front of all others in log mode.
		shapes = slices.DeleteFunc(shapes, func(s shape) bool { return s.nature == breaking })
	}
	every := pick(1500, 10_000) / hostileEntries
	pipe := h.admin.Pipeline()
	var kinds []*shape
	add := func(pairs []string, of *shape) {
		args := []any{"XADD", transfers.Name, "*"}
		for _, text := range pairs {
			args = append(args, text)
		}
		pipe.Do(t.Context(), args...)
		kinds = append(kinds, of)
	}
	flush := func() {
		cmds, err := pipe.Exec(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, cmd := range cmds {
			id, err := cmd.(*redis.Cmd).Text()
			if err != nil {
				t.Fatal(err)
			}
			of := kinds[len(h.ids)]
			h.ids = append(h.ids, id)
			if of == nil {
				h.good[id] = true
			} else {
				h.shapes[id] = *of
			}
		}
	}
	for n := range hostileEntries {
		for i := range every {
			add(good(n*every+i), nil)
		}
		// Those that come once more have the same shape and another size.
		of := shapes[n%len(shapes)]
		if again := n / len(shapes); again > 0 {
			of.pairs = append(slices.Clone(of.pairs), "again", fmt.Sprint(again))
		}
		add(of.pairs, &of)
		flush()
	}
	huge := shape{"a field that is huge", harmless, with(good(0), "huge", strings.Repeat("h", pick(10, 32)<<20))}
	add(huge.pairs, &huge)
	add(good(0), nil)
	flush()
	return h
}

// runHostile consumes all of it.
func runHostile[T any](h *hostile, topic stream.Topic[T], note func(*T) string) {
	t := h.t
	client := as(t, string(h.mode), *h.admin.Options())
	stack := []stream.Middleware{h.clock}
	if h.letters {
		stack = append(stack,
			middleware.DeadLetter(middleware.DeadLetterConfig{If: isGivenUp}),
			middleware.Retry(middleware.RetryConfig{Attempts: 2, Backoff: stream.Backoff{Min: time.Millisecond, Max: time.Millisecond}}))
	}
	var tripped sync.Map
	handle := func(_ context.Context, msg *stream.Message[T]) error {
		first := func() bool { _, before := tripped.LoadOrStore(msg.ID, true); return !before }
		switch text := note(&msg.Value); {
		case text == "breaks":
			panic("the handler's own words")
		case text == "trips" && first():
			panic("the handler's own words")
		case text == "ends" && first():
			runtime.Goexit()
		}
		h.mu.Lock()
		h.handled[msg.ID]++
		h.mu.Unlock()
		return nil
	}
	var (
		consumer *stream.Consumer[T]
		err      error
	)
	if h.mode == groupMode {
		consumer, err = stream.NewGroupConsumer(client, topic, group, handle, h.options("one", stack...)...)
	} else {
		var store *offset.Redis
		if store, err = offset.NewRedis(client, ""); err == nil {
			consumer, err = stream.NewConsumer(client, topic, h.rec.Store("one", store), handle, h.options("one", stack...)...)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	heap := watchHeap()
	instance := streamtest.NewInstance(t, client)
	instance.Start(consumer)
	h.rec.AwaitHandled(h.ids)
	streamtest.Await(t, "everything is settled", func() bool { return consumer.Stats().Window == 0 })
	if err := instance.Stop(); err != nil {
		t.Error(err)
	}
	h.verify(consumer.Stats(), heap())
}

// isGivenUp says that all that fails twice becomes a dead letter, panics included.
func isGivenUp(err error) bool {
	var (
		gaveUp *middleware.RetryError
		decode *stream.DecodeError
	)
	return errors.As(err, &gaveUp) || errors.As(err, &decode)
}

// clock measures the time between deliveries.
func (h *hostile) clock(next stream.EntryHandler) stream.EntryHandler {
	return func(ctx context.Context, entry *stream.Entry) error {
		h.mu.Lock()
		if !h.last.IsZero() {
			h.gap = max(h.gap, time.Since(h.last))
		}
		h.last = time.Now()
		h.mu.Unlock()
		return next(ctx, entry)
	}
}

// watchHeap returns a function that returns by how many bytes the heap has grown at
// the most since.
func watchHeap() func() uint64 {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	base := sample[0].Value.Uint64()
	stop, most := make(chan struct{}), make(chan uint64)
	go func() {
		peak := base
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				metrics.Read(sample)
				peak = max(peak, sample[0].Value.Uint64())
			case <-stop:
				most <- peak - base
				return
			}
		}
	}()
	return func() uint64 {
		close(stop)
		return <-most
	}
}

// verify accounts for every entry.
func (h *hostile) verify(stats stream.Stats, heap uint64) {
	t := h.t
	dead := h.deadLetters()
	counts := make(map[string]int)
	log := h.journal.String()
	lines := make(map[string][]string) // by entry ID
	for line := range strings.Lines(log) {
		if _, rest, found := strings.Cut(line, "entry_id="); found {
			id, _, _ := strings.Cut(rest, " ")
			lines[id] = append(lines[id], line)
		}
	}
	for _, id := range h.ids {
		of, hostile := h.shapes[id]
		letter, buried := dead[id]
		// A delivery is logged once: by Logging, or else by the engine. Of failures with one
		// cause, the first is an error, and single ones are at Debug.
		told := slices.ContainsFunc(lines[id], func(line string) bool {
			return slices.ContainsFunc([]string{
				`level=WARN msg="entry passed`, `level=WARN msg="entry not decoded`, `level=ERROR msg="entry held`, `level=DEBUG msg="entry held`, `level=DEBUG msg="entry failed`,
			}, func(text string) bool { return strings.Contains(line, text) })
		})
		switch {
		case !hostile || of.nature == harmless:
			if h.handled[id] != 1 || buried || told {
				t.Errorf("%q: handled %d times, dead letter %t, reported %t", of.name, h.handled[id], buried, told)
			}
			counts["handled"]++
		case of.nature == tripping, of.nature == ending:
			// With Retry, the second attempt at a panic is made at once.
			if h.handled[id] != 1 || buried || !told && (!h.letters || of.nature != tripping) {
				t.Errorf("%q: handled %d times, dead letter %t, reported %t", of.name, h.handled[id], buried, told)
			}
			counts["handled again"]++
		case h.handled[id] != 0 || !told || buried != h.letters:
			t.Errorf("%q: handled %d times, dead letter %t, reported %t, want it reported, and a dead letter %t", of.name, h.handled[id], buried, told, h.letters)
		case h.letters:
			h.compare(of, id, letter)
			counts["dead letters"]++
		default:
			counts["absorbed"]++
		}
	}
	if want := int64(counts["absorbed"]); stats.Absorbed != want {
		t.Errorf("%d are counted as absorbed, want %d", stats.Absorbed, want)
	}
	if want := int64(counts["dead letters"]); stats.DeadLettered != want || int64(len(dead)) != want {
		t.Errorf("%d are counted as dead letters, and there are %d, want %d", stats.DeadLettered, len(dead), want)
	}
	if limit := time.Second; h.gap > limit {
		t.Errorf("nothing was delivered for %v", h.gap)
	}
	// What was read ahead, and the huge one a few times: as it arrives, as it grows,
	// and as a dead letter.
	if limit := uint64(96+4*pick(10, 32)) << 20; heap > limit {
		t.Errorf("the heap has grown by %d MiB, want at most %d", heap>>20, limit>>20)
	}
	events, err := h.rec.Events()
	if err != nil {
		t.Fatal(err)
	}
	rules := history.Rules{}
	if h.mode == logMode {
		rules.Order = history.InOrder
	}
	history.Verify(t, rules, events, h.ids)
	h.journal.expectNoCanary(t)
	for _, refusal := range refusals(t, h.admin) {
		t.Error("refused: ", refusal)
	}
	t.Logf("%d entries, %d of them hostile: %v; the longest time without a delivery %v; the heap has grown by %d MiB",
		len(h.ids), len(h.shapes), counts, h.gap.Round(time.Millisecond), heap>>20)
}

// deadLetters returns the pairs of all, by the ID of the entry.
func (h *hostile) deadLetters() map[string][]string {
	h.t.Helper()
	reply, err := h.admin.Do(h.t.Context(), "XRANGE", stream.DeadLetterStream(transfers.Name), "-", "+").Slice()
	if err != nil {
		h.t.Fatal(err)
	}
	dead := make(map[string][]string)
	for _, one := range reply {
		var pairs []string
		for _, text := range one.([]any)[1].([]any) {
			pairs = append(pairs, text.(string))
		}
		own := pairs[len(pairs)-12:]
		if own[2] != stream.DeadLetterID {
			h.t.Fatalf("the last fields of a dead letter are %q", own)
		}
		dead[own[3]] = pairs
	}
	return dead
}

// compare compares a dead letter with the entry that it was.
func (h *hostile) compare(of shape, id string, letter []string) {
	h.t.Helper()
	if original := letter[:len(letter)-12]; !slices.Equal(original, of.pairs) {
		h.t.Errorf("%q is another one as a dead letter: %.200q, want %.200q", of.name, original, of.pairs)
	}
	own := letter[len(letter)-12:]
	owner := []string{stream.DeadLetterLabel, transfers.Name}
	if h.mode == groupMode {
		owner = []string{stream.DeadLetterGroup, group}
	}
	want := slices.Concat([]string{stream.DeadLetterOrigin, transfers.Name, stream.DeadLetterID, id}, owner, []string{stream.DeadLetterAttempts})
	if !slices.Equal(own[:7], want) || own[8] != stream.DeadLetterCause || own[10] != stream.DeadLetterTime {
		h.t.Errorf("%q has the fields %q of ours", of.name, own)
	}
	for i := 1; i < len(own); i += 2 {
		if strings.Contains(own[i], canary) {
			h.t.Errorf("%q: a secret is in the field %s of the dead letter", of.name, own[i-1])
		}
	}
}
