package display_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"millrace/codec"
	"millrace/stream/cmd/millrace/internal/display"
)

// TestFigures are the forms of numbers and durations.
func TestFigures(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 9999: "9999", 10_000: "10 000", 812_034: "812 034", 1_000_000: "1 000 000"} {
		if got := display.Number(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		-time.Second: "0", 0: "0", 49 * time.Millisecond: "0", 200 * time.Millisecond: "0.2s", 9900 * time.Millisecond: "9.9s", 38 * time.Second: "38s",
		4*time.Minute + 12*time.Second: "4m12s", time.Hour: "1h00m", 47*time.Hour + 5*time.Minute: "47h05m", 48 * time.Hour: "2d", 960 * time.Hour: "40d",
	} {
		if got := display.Age(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

// TestPairsAsJSON: the order stays, a name that repeats has all its values, and bytes survive.
func TestPairsAsJSON(t *testing.T) {
	t.Parallel()
	fields, headers := display.Split(codec.FieldsOf("z", "1", "a", "\xff", "z", "<2>", "traceparent", "00", "millrace.for", "group:x"))
	text, err := json.Marshal([]display.Pairs{fields, headers})
	if want := `[{"z":["1","\u003c2\u003e"],"a":{"base64":"/w=="}},{"traceparent":"00","millrace.for":"group:x"}]`; err != nil || string(text) != want {
		t.Errorf("it is %s, %v, want %s", text, err, want)
	}
}

// TestPackedFields are shown one by one, and those that are not whole as they are.
func TestPackedFields(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"\x01\x0342\x00\x04ab": `[{"packed:id,gone,note":"\u0001\u000342\u0000\u0004ab"},{"traceparent":"00"}]`,
		"\x01\x0342\x00\x03ab": `[{"id":"42","note":"ab"},{"traceparent":"00"}]`,
	} {
		fields, headers := display.Split(codec.FieldsOf("packed:id,gone,note", text, "traceparent", "00"))
		if got, err := json.Marshal([]display.Pairs{fields, headers}); err != nil || string(got) != want {
			t.Errorf("it is %s, %v, want %s", got, err, want)
		}
	}
	packed := codec.FieldsOf("packed:id,gone,note", "\x01\x0342\x00\x03ab", "traceparent", "00")
	if got, want := display.FieldLines(packed), "  id           42\n  note         ab\n  traceparent  00\n"; got != want {
		t.Errorf("it is\n%s, want\n%s", got, want)
	}
}

// TestTable on each width: no line is longer than the terminal, and no word is lost.
func TestTable(t *testing.T) {
	t.Parallel()
	header := []string{"NAME", ">COUNT", "CAUSE"}
	rows := [][]string{{"orders", "12 305", "connection refused by averyveryverylongname of somebody"}, {"b", ".", "."}}
	for columns := range 70 {
		var b strings.Builder
		o := &display.Output{Writer: &b, Format: display.FormatTable, Columns: columns}
		if err := o.Table(header, rows); err != nil {
			t.Fatal(err)
		}
		all := strings.Join(strings.Fields(b.String()), "")
		for _, word := range []string{"orders", "12305", "connectionrefusedbyaveryveryverylongnameofsomebody"} {
			if !strings.Contains(all, word) {
				t.Errorf("%d columns: %s is lost:\n%s", columns, word, &b)
			}
		}
		for line := range strings.Lines(b.String()) {
			if isTable := strings.HasPrefix(b.String(), "NAME"); isTable && columns > 0 && len(line)-1 > columns {
				t.Errorf("%d columns: too long: %q", columns, line)
			}
		}
	}
}
