package codec_test

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/go-playground/validator/v10"
	"github.com/mitchellh/mapstructure"

	"millrace/codec"
)

type benchEvent struct {
	ID      string    `mapstructure:"id" validate:"required"`
	Kind    string    `mapstructure:"kind" validate:"oneof=created renamed deleted"`
	UserID  int64     `mapstructure:"user_id" validate:"gt=0"`
	Version uint16    `mapstructure:"version"`
	Score   float64   `mapstructure:"score"`
	Active  bool      `mapstructure:"active"`
	At      time.Time `mapstructure:"at" validate:"required"`
	Comment string    `mapstructure:"comment" validate:"max=200"`
}

// benchPlain is benchEvent without validation.
type benchPlain struct {
	ID      string    `mapstructure:"id"`
	Kind    string    `mapstructure:"kind"`
	UserID  int64     `mapstructure:"user_id"`
	Version uint16    `mapstructure:"version"`
	Score   float64   `mapstructure:"score"`
	Active  bool      `mapstructure:"active"`
	At      time.Time `mapstructure:"at"`
	Comment string    `mapstructure:"comment"`
}

var (
	benchFields = codec.FieldsOf(
		"id", "evt-000001", "kind", "renamed", "user_id", "1234567", "version", "3", "score", "0.75", "active", "true",
		"at", "2024-02-03T04:05:06.789Z", "comment", "a comment of ordinary length",
	)
	benchMap   = asMap(benchFields) // as go-redis hands them over
	benchValue = benchEvent{"evt-000001", "renamed", 1234567, 3, 0.75, true, time.Date(2024, 2, 3, 4, 5, 6, 789e6, time.UTC), "a comment of ordinary length"}
)

func asMap(fields codec.Fields) map[string]any {
	m := make(map[string]any, fields.Len())
	for name, value := range fields.All() {
		m[name] = value
	}
	return m
}

// BenchmarkStruct measures the codec next to what one would write by hand with
// mapstructure and validator. x-mapstructure is the codec's time in units of
// that, of the same run: below 1 is faster. decode-plain does it without
// validation, on both sides.
func BenchmarkStruct(b *testing.B) {
	c, plain := codec.Struct[benchEvent](), codec.Struct[benchPlain]()
	validate := validator.New(validator.WithRequiredStructEnabled())
	ratio := func(b *testing.B, codecOp, handOp func() error) {
		b.ReportAllocs()
		measure := func(op func() error) time.Duration {
			start := time.Now()
			for range 100 {
				if err := op(); err != nil {
					b.Fatal(err)
				}
			}
			return time.Since(start)
		}
		var ours, hand time.Duration
		for i := 0; b.Loop(); i++ {
			if err := codecOp(); err != nil {
				b.Fatal(err)
			}
			// In turns, so that a noisy neighbour disturbs both.
			if i%1000 == 0 {
				b.StopTimer()
				ours += measure(codecOp)
				hand += measure(handOp)
				b.StartTimer()
			}
		}
		b.ReportMetric(float64(ours)/float64(hand), "x-mapstructure")
	}
	b.Run("decode", func(b *testing.B) {
		ratio(b, func() error {
			_, err := c.Decode(benchFields)
			return err
		}, func() error {
			var event benchEvent
			if err := decodeByHand(&event); err != nil {
				return err
			}
			return validate.Struct(&event)
		})
	})
	b.Run("decode-plain", func(b *testing.B) {
		ratio(b, func() error {
			_, err := plain.Decode(benchFields)
			return err
		}, func() error {
			var event benchPlain
			return decodeByHand(&event)
		})
	})
	b.Run("encode", func(b *testing.B) {
		ratio(b, func() error {
			_, err := c.Encode(benchValue)
			return err
		}, func() error {
			// mapstructure loses times when it encodes, so they are put back.
			if err := validate.Struct(&benchValue); err != nil {
				return err
			}
			var m map[string]any
			if err := mapstructure.Decode(benchValue, &m); err != nil {
				return err
			}
			m["at"] = benchValue.At.Format(time.RFC3339Nano)
			m["user_id"] = strconv.FormatInt(benchValue.UserID, 10)
			return nil
		})
	})
}

func decodeByHand(result any) error {
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:           result,
		WeaklyTypedInput: true,
		DecodeHook:       mapstructure.StringToTimeHookFunc(time.RFC3339Nano),
	})
	if err != nil {
		return err
	}
	return decoder.Decode(benchMap)
}

type benchOrder struct {
	ID       string            `json:"id"`
	Customer benchCustomer     `json:"customer"`
	Items    []benchItem       `json:"items"`
	Total    float64           `json:"total"`
	Currency string            `json:"currency"`
	At       time.Time         `json:"at"`
	Paid     bool              `json:"paid"`
	Labels   map[string]string `json:"labels"`
	Note     *string           `json:"note"`
}

type benchCustomer struct {
	ID      int64    `json:"id"`
	Name    string   `json:"name"`
	Mail    string   `json:"mail"`
	Address []string `json:"address"`
}

type benchItem struct {
	SKU   string  `json:"sku"`
	Count uint16  `json:"count"`
	Price float64 `json:"price"`
	Gift  bool    `json:"gift"`
}

func newBenchOrder(items int) benchOrder {
	note := "leave it at the door, \"please\""
	o := benchOrder{
		ID: "ord-000001", Total: 1234.5, Currency: "CHF", At: time.Date(2024, 2, 3, 4, 5, 6, 789e6, time.UTC), Paid: true,
		Customer: benchCustomer{7654321, "Ada Lovelace", "ada@example.org", []string{"12 St James's Square", "London", "SW1Y 4LB"}},
		Labels:   map[string]string{"channel": "web", "campaign": "spring", "tier": "gold"},
		Note:     &note,
	}
	for i := range items {
		o.Items = append(o.Items, benchItem{"sku-00012" + string(rune('0'+i%10)), uint16(i), 12.95, i%2 == 0})
	}
	return o
}

func benchmarkJSON[T any](b *testing.B, value T) {
	pairs, err := codec.JSON[T]{}.Encode(value)
	if err != nil {
		b.Fatal(err)
	}
	fields, text := codec.FieldsOf(pairs...), []byte(pairs[1])
	b.Run("decode/millrace", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := (codec.JSON[T]{}).Decode(fields); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode/encoding_json", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			var v T
			if err := json.Unmarshal(text, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode/millrace", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := (codec.JSON[T]{}).Encode(value); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode/encoding_json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(&value); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkJSON(b *testing.B) {
	var generic any
	small, large := newBenchOrder(2), newBenchOrder(200)
	text, _ := json.Marshal(large)
	if err := json.Unmarshal(text, &generic); err != nil {
		b.Fatal(err)
	}
	b.Run("small", func(b *testing.B) { benchmarkJSON(b, small) })
	b.Run("large", func(b *testing.B) { benchmarkJSON(b, large) })
	b.Run("any", func(b *testing.B) { benchmarkJSON(b, generic) })
}
