package resp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/stream/internal/resp/resptest"
)

// parse reads one reply out of what comes.
func parse(from io.Reader) ([]Batch, *Parser, error) {
	r := &Parser{Reader: Reader{Conn: from}}
	batches, err := parseNext(r)
	return batches, r, err
}

func parseNext(r *Parser) ([]Batch, error) {
	kind, streams, err := r.Head()
	if err != nil {
		return nil, err
	}
	if kind != '*' && kind != '%' || streams < 0 {
		return nil, io.ErrUnexpectedEOF // not for it, see capture
	}
	return r.Batches(kind, streams)
}

// bulk is a text as the server writes it.
func bulk(texts ...string) string {
	var b strings.Builder
	for _, text := range texts {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(text), text)
	}
	return b.String()
}

// replyOf is a reply with entries that have the pairs.
func replyOf(entries ...[]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*1\r\n*2\r\n$1\r\ns\r\n*%d\r\n", len(entries))
	for i, pairs := range entries {
		fmt.Fprintf(&b, "*2\r\n%s*%d\r\n%s", bulk(fmt.Sprint(i, "-0")), len(pairs), bulk(pairs...))
	}
	return b.String()
}

// Each allocation of an entry is paid for a hundred thousand times a second. Of an entry
// there are two: one of its texts, and one of its pairs.
func TestReplyAllocations(t *testing.T) {
	const entries = 100
	for _, changing := range []int{8, 4, 0} {
		var all [][]string
		for i := range entries {
			var pairs []string
			for j := range 8 {
				value := "constant"
				if j < changing {
					value = fmt.Sprint("value ", i)
				}
				pairs = append(pairs, fmt.Sprint("name ", j, " of ", i%2), value)
			}
			all = append(all, pairs)
		}
		data := []byte(replyOf(all...))
		from := bytes.NewReader(data)
		r := &Parser{Reader: Reader{Conn: from}}
		got := testing.AllocsPerRun(10, func() {
			from.Reset(data)
			if _, err := parseNext(r); err != nil {
				t.Fatal(err)
			}
		})
		if budget := entries + 20; got > float64(budget) {
			t.Errorf("%.0f allocations for %d entries of which %d values change, want %d at most", got, entries, changing, budget)
		}
	}
}

// What is malformed is an error that says nothing of the values.
func TestMalformedReplies(t *testing.T) {
	t.Parallel()
	entry := func(text string) string { return "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n" + text }
	for what, reply := range map[string]string{
		"a stream that is no pair":      "*1\r\n*3\r\n$6\r\ncanary\r\n*0\r\n:1\r\n",
		"a stream that is a text":       "*1\r\n$6\r\ncanary\r\n",
		"a stream without a name":       "*1\r\n*2\r\n$-1\r\n*0\r\n",
		"a stream named by a number":    "*1\r\n*2\r\n:1\r\n*0\r\n",
		"null instead of entries":       "*1\r\n*2\r\n$1\r\ns\r\n*-1\r\n",
		"a map instead of entries":      "*1\r\n*2\r\n$1\r\ns\r\n%0\r\n",
		"an entry that is null":         entry("*-1\r\n"),
		"an entry that is too short":    entry("*1\r\n$3\r\n1-0\r\n"),
		"an entry without an ID":        entry("*2\r\n$-1\r\n*0\r\n"),
		"an entry with a number for ID": entry("*2\r\n:1\r\n*0\r\n"),
		"an ID of 1,025 bytes":          entry("*2\r\n" + bulk(strings.Repeat("1", 1025)) + "*0\r\n"),
		"fields that are a text":        entry("*2\r\n$3\r\n1-0\r\n$6\r\ncanary\r\n"),
		"fields that are an error":      entry("*2\r\n$3\r\n1-0\r\n-ERR canary\r\n"),
		"an odd number of fields":       entry("*2\r\n$3\r\n1-0\r\n*3\r\n$1\r\na\r\n$6\r\ncanary\r\n$1\r\nb\r\n"),
		"a name that is null":           entry("*2\r\n$3\r\n1-0\r\n*2\r\n$-1\r\n$1\r\na\r\n"),
		"a value that is null":          entry("*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$-1\r\n"),
		"a value that is a number":      entry("*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n:12345\r\n"),
		"a value that is an array":      entry("*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n*0\r\n"),
		"a short value too long":        entry("*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$3\r\ncanary\r\n"),
		"a value too long":              entry("*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$2000\r\n" + strings.Repeat("canary", 400)),
		"a large value too long":        entry("*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$70000\r\n" + strings.Repeat("canary", 12000)),
		"a length that is no number":    "*canary\r\n",
		"a length that is missing":      "*\r\n",
		"a length that is negative":     "*1\r\n*2\r\n$-2\r\n",
		"a length with a sign":          "*+1\r\n",
		"a length that overflows":       entry("*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$18446744073709551617\r\nx\r\n"),
		"a line without a return":       "*10\n*2\r\n$1\r\ns\r\n*0\r\n",
		"a line without a type":         "\r\n",
		"a line that does not end":      "*1\r\n*2\r\n$1\r\ns\r\n+" + strings.Repeat("canary", WireSize),
	} {
		got, _, err := parse(iotest.OneByteReader(strings.NewReader(reply)))
		whole, _, wholeErr := parse(strings.NewReader(reply))
		if err == nil || got != nil || !strings.HasPrefix(err.Error(), "stream: the server's reply to XREAD is malformed: ") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, %v", what, got, err)
		}
		if whole != nil || wholeErr == nil || wholeErr.Error() != err.Error() {
			t.Errorf("%s, in one piece: %v, %v", what, whole, wholeErr)
		}
	}
}

// allocated is how many bytes work allocates, those of other goroutines included.
func allocated(work func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	work()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A length is only an announcement. (Not in parallel: the memory is the process'.)
func TestLengthsThatLie(t *testing.T) {
	const lie = "999999999\r\n"
	stream := "*1\r\n*2\r\n$1\r\ns\r\n"
	for _, reply := range []string{
		"*" + lie, "%" + lie, "*1\r\n*2\r\n$" + lie,
		stream + "*" + lie,
		stream + "*1\r\n*" + lie,
		stream + "*1\r\n*2\r\n$3\r\n1-0\r\n*999999998\r\n",
		stream + "*1\r\n*2\r\n$3\r\n1-0\r\n%" + lie,
		stream + "*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$" + lie,
		stream + "*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$" + lie,
		stream + "*1\r\n*3\r\n$3\r\n1-0\r\n*0\r\n*" + lie,
		stream + "*1\r\n*3\r\n$3\r\n1-0\r\n*0\r\n$" + lie,
		"|" + lie,
	} {
		var err error
		bytes := allocated(func() { _, _, err = parse(strings.NewReader(reply)) })
		if err == nil || bytes > 1<<20 {
			t.Errorf("%q: %v, with %d bytes allocated", reply, err, bytes)
		}
	}
}

// The fields of an entry are in their order, repeated names included, wherever their texts are
// kept, and whatever the entry before has had in their places.
func TestFieldsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	large, small := strings.Repeat("x", maxShared+1), strings.Repeat("y", maxShared)
	entries := [][]string{
		{"z", "1", "a", "2", "z", "3", "", "", "b", large, "a", "2"},
		{"z", "1", "a", "2", "z", "4", "", "", "b", large, "a", ""},
		{"a", "1", "z", "2"},
		{"a", small, "a", small, "a", small, "a", small, "a", small, "a", "1", "a", small, "a", large},
		{"a", "1", "z", "2"},
	}
	for _, from := range []io.Reader{strings.NewReader(replyOf(entries...)), iotest.OneByteReader(strings.NewReader(replyOf(entries...)))} {
		got, _, err := parse(from)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range entries {
			if fields := pairsOf(got[0].Entries[i].Fields); !slices.Equal(fields, want) {
				t.Errorf("entry %d has the fields %.200q, want %.200q", i, fields, want)
			}
		}
	}
}

// What newer servers say about an entry, behind its fields, is passed over.
func TestEntryWithMore(t *testing.T) {
	t.Parallel()
	more := ":12\r\n*2\r\n|1\r\n+k\r\n+v\r\n$2\r\n\r\n\r\n%1\r\n,1.5\r\n_\r\n*-1\r\n$-1\r\n=5\r\ntxt:x\r\n"
	data := "*1\r\n*2\r\n$1\r\ns\r\n*2\r\n*7\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n" + more + "*2\r\n$3\r\n2-0\r\n%1\r\n$1\r\na\r\n$1\r\nb\r\n"
	got, _, err := parse(iotest.OneByteReader(strings.NewReader(data)))
	wanted := []Batch{{Stream: "s", Entries: []Entry{
		{ID: "1-0", Fields: codec.FieldsOf("a", "b")}, {ID: "2-0", Fields: codec.FieldsOf("a", "b")},
	}}}
	if err != nil || !reflect.DeepEqual(sizeless(got), wanted) {
		t.Errorf("%v, %v", got, err)
	}
}

// What one entry has must not be kept because of another: not its large values,
// nor names without end.
func TestReplyKeepsLittle(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 1<<20)
	many := make([]string, 0, 8*maxKnownNames)
	for i := range 4 * maxKnownNames {
		many = append(many, fmt.Sprint("name ", i), large[:500])
	}
	for what, pairs := range map[string][]string{
		"large values": {"a", large, "b", large, "c", large}, "large names": {large, "x", large + "y", "z"}, "many names": many,
	} {
		_, r, err := parse(strings.NewReader(replyOf(pairs)))
		if err != nil {
			t.Fatal(err)
		}
		kept := cap(r.text) + cap(r.ends)*int(unsafe.Sizeof(0)) + cap(r.apart)*int(unsafe.Sizeof(""))
		for _, value := range r.apart[:cap(r.apart)] {
			kept += len(value)
		}
		for _, name := range r.names[:cap(r.names)] {
			kept += len(name)
		}
		for name := range r.known {
			kept += len(name)
		}
		if kept > 64<<10 || len(r.known) > maxKnownNames || cap(r.names) > 2*maxNames {
			t.Errorf("%s: %d bytes are kept, %d names, room for %d", what, kept, len(r.known), cap(r.names))
		}
	}
}

// A value that is kept keeps the small ones next to it, but not many, and no large
// one.
func TestSmallValuesDoNotKeepMuch(t *testing.T) {
	t.Parallel()
	var pairs []string
	for i := range 100 {
		pairs = append(pairs, fmt.Sprint(i), strings.Repeat("x", i*maxShared/80))
	}
	got, _, err := parse(strings.NewReader(replyOf(pairs)))
	if err != nil {
		t.Fatal(err)
	}
	fields := got[0].Entries[0].Fields
	end, together, most := uintptr(0), 0, 0
	for i := range 100 {
		value, _ := fields.Get(fmt.Sprint(i))
		begin := uintptr(unsafe.Pointer(unsafe.StringData(value)))
		if begin != end {
			together = 0
		}
		end = begin + uintptr(len(value))
		together += len(value)
		if len(value) <= maxShared {
			most = max(most, together)
		}
	}
	if most < maxText || most > maxText+maxShared {
		t.Errorf("%d bytes share a string", most)
	}
}

// FuzzReply holds the reader of replies against itself, with the reply in other
// pieces and with limits, against what looks through them, and against go-redis.
func FuzzReply(f *testing.F) {
	for _, protocol := range []int{2, 3} {
		f.Add([]byte(resptest.Reply(protocol, 3, "value")), uint16(0))
		f.Add([]byte(resptest.Reply(protocol, 1, strings.Repeat("v", maxShared))), uint16(7))
	}
	f.Add([]byte(replyOf([]string{"a", "1", strings.Repeat("n", 200), strings.Repeat("v", 2000), "b", "2"}, []string{"a", "1"})), uint16(20))
	f.Add([]byte(replyOf([]string{"a", strings.Repeat("v", 500)}, []string{"a", "1"}, []string{"a", "1", "b", ""}, nil)), uint16(300))
	f.Add([]byte(replyOf([]string{"a", "1", "a", "2"}, nil, []string{"", "", "\x00", "\xff"}, []string{"a", "1"})), uint16(3))
	f.Add([]byte("*2\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*-1\r\n*2\r\n$1\r\nt\r\n*1\r\n*4\r\n$3\r\n1-0\r\n_\r\n:1\r\n:2\r\n"), uint16(1))
	f.Add([]byte("%1\r\n$1\r\ns\r\n*1\r\n|1\r\n+k\r\n+v\r\n*2\r\n$3\r\n1-0\r\n%1\r\n$1\r\na\r\n$1\r\nb\r\n"), uint16(2))
	f.Fuzz(func(t *testing.T, data []byte, piece uint16) {
		var got []Batch
		var err error
		room := allocated(func() { got, _, err = parse(bytes.NewReader(data)) })
		if limit := 1<<20 + 64*len(data); room > uint64(limit) {
			t.Errorf("%d bytes were allocated for %d", room, len(data))
		}
		again, _, againErr := parse(&pieces{data: data, size: int(piece)%100 + 1})
		if (err == nil) != (againErr == nil) || err != nil && err.Error() != againErr.Error() || !reflect.DeepEqual(got, again) {
			t.Errorf("in one piece: %v, %v\nin pieces: %v, %v", got, err, again, againErr)
		}
		limited(t, data, int64(piece), got, err)
		if err != nil {
			if got != nil {
				t.Errorf("%v with %v", got, err)
			}
			return
		}
		ahead := &Outline{Wire: &Reader{Conn: bytes.NewReader(data)}}
		if n, last, ok := ahead.Entries(); ok && len(got) == 1 && (len(got[0].Entries) != n || got[0].Entries[n-1].ID != last) {
			t.Errorf("looked through, it has %d entries, the last %q", n, last)
		}
		got = sizeless(got)
		theirs, theirErr := goRedisReads(data)
		switch {
		case passedOver.Match(data) && (theirErr != nil || len(theirs) == 0): // a null in there is none of all to go-redis
			return
		case theirErr != nil:
			t.Errorf("read, but go-redis says %v", theirErr)
			return
		}
		if len(got) != len(theirs) {
			t.Fatalf("%d streams, want %d", len(got), len(theirs))
		}
		for i := range got {
			if got[i].Stream != theirs[i].Stream || len(got[i].Entries) != len(theirs[i].Entries) {
				t.Fatalf("%v, want %v", got, theirs)
			}
			for j := range got[i].Entries {
				if one := asGoRedis(got[i].Entries[j]); !reflect.DeepEqual(one, theirs[i].Entries[j]) {
					t.Errorf("%#v, want %#v", one, theirs[i].Entries[j])
				}
			}
		}
	})
}

// limited reads a reply again with limits, and holds the result against what was read
// without.
func limited(t *testing.T, data []byte, limit int64, whole []Batch, wholeErr error) {
	t.Helper()
	for what, in := range map[string]Budget{
		"an entry":         {MaxEntry: limit, Room: Unlimited, Least: 1},
		"all":              {MaxEntry: Unlimited, Room: limit, Least: 1},
		"all, with keys":   {MaxEntry: Unlimited, Room: limit, Least: 2, Key: func(one *Entry) string { return fmt.Sprint(one.Fields.Get("a")) }},
		"an entry and all": {MaxEntry: limit / 2, Room: limit, Least: 1},
	} {
		r := &Parser{Reader: Reader{Conn: bytes.NewReader(data)}, Budgets: in.For}
		got, err := parseNext(r)
		if (err == nil) != (wholeErr == nil) || err != nil && err.Error() != wholeErr.Error() || len(got) != len(whole) {
			t.Fatalf("with a limit for %s: %v, %v; without %v, %v", what, got, err, whole, wholeErr)
		}
		for i, b := range got {
			want := whole[i]
			if b.Len() != len(want.Entries) || b.Stream != want.Stream || b.Bytes != want.Bytes {
				t.Fatalf("with a limit for %s: %+v; without %+v", what, b, want)
			}
			if len(b.Entries) < min(in.Least, len(want.Entries)) {
				t.Errorf("with a limit for %s, %d entries are kept", what, len(b.Entries))
			}
			taken := int64(0)
			for j, one := range b.Entries {
				plain := want.Entries[j]
				if int64(plain.Size) > in.MaxEntry {
					plain.Fields = codec.Fields{}
				}
				if !reflect.DeepEqual(one, plain) {
					t.Errorf("with a limit for %s of %d: %#v, want %#v", what, limit, one, plain)
				}
				if taken += one.Bytes(); j >= in.Least && taken > in.Room {
					t.Errorf("with a limit for %s of %d, %d bytes are kept", what, limit, taken)
				}
			}
			for j, one := range b.Left {
				plain := want.Entries[len(b.Entries)+j]
				key := ""
				if in.Key != nil {
					key = in.Key(&plain)
				}
				if one.ID != plain.ID || one.Key != key {
					t.Errorf("with a limit for %s, %+v is left of %#v", what, one, plain)
				}
			}
		}
	}
}

// passedOver finds what may be read over without a look: attributes, and more
// elements than an entry needs. go-redis looks at some of them.
var passedOver = regexp.MustCompile(`(^|\n)(\||\*0*([3-9]|[1-9][0-9]))`)

func goRedisReads(data []byte) ([]Batch, error) {
	c := &resptest.Server{Protocol: 2, Replies: [][]resptest.Step{resptest.Steps(string(data))}}
	opts := c.Options()
	opts.Dialer = func(_ context.Context, _, addr string) (net.Conn, error) { return c.Dial(addr), nil }
	client := redis.NewClient(opts)
	defer func() { _ = client.Close() }()
	return goRedisBatches(client)
}

// pieces gives data a few bytes at a time.
type pieces struct {
	data []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.size)], p.data)
	p.data = p.data[n:]
	return n, nil
}
