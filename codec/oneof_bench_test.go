package codec_test

import (
	"slices"
	"testing"
	"time"

	"millrace/codec"
)

// BenchmarkDiscriminator measures OneOf and Versions next to the Struct that they hand over to.
// ns-over is the time on top of that of Struct, of the same run: the least of many rounds in
// turns, as a busy machine only adds. x-struct is the ratio.
func BenchmarkDiscriminator(b *testing.B) {
	inner := codec.Struct[benchEvent]()
	kinds := codec.OneOf("type",
		codec.Kind("placed", codec.Struct[placed](), func(p placed) any { return p }),
		codec.Kind("bench", inner, func(e benchEvent) any { return e }),
		codec.Kind("closed", codec.JSON[closed]{}, func(c closed) any { return c }))
	versions := codec.Versions("v", "2", inner,
		codec.Upcast("1", codec.Struct[benchPlain](), func(e benchPlain) (benchEvent, error) { return benchEvent(e), nil }))
	with := func(name, value string) codec.Fields {
		pairs := []string{name, value}
		for name, value := range benchFields.All() {
			pairs = append(pairs, name, value)
		}
		return codec.FieldsOf(pairs...)
	}
	ofKind, ofVersion, ofOld := with("type", "bench"), with("v", "2"), with("v", "1")
	decode := func(fields codec.Fields) func() error {
		return func() error { _, err := inner.Decode(fields); return err }
	}
	var boxed any = benchValue
	encode := func() error { _, err := inner.Encode(benchValue); return err }
	for _, row := range []struct {
		name       string
		alone, all func() error
	}{
		{"oneof-decode", decode(benchFields), func() error { _, err := kinds.Decode(ofKind); return err }},
		{"oneof-encode", encode, func() error { _, err := kinds.Encode(boxed); return err }},
		{"versions-decode", decode(benchFields), func() error { _, err := versions.Decode(ofVersion); return err }},
		{"versions-encode", encode, func() error { _, err := versions.Encode(benchValue); return err }},
		{"versions-upcast", decode(benchFields), func() error { _, err := versions.Decode(ofOld); return err }},
	} {
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			const each = 500
			measure := func(op func() error) float64 {
				begun := time.Now()
				for range each {
					if err := op(); err != nil {
						b.Fatal(err)
					}
				}
				return float64(time.Since(begun)) / each
			}
			var alone, all []float64
			for i := 0; b.Loop(); i++ {
				if err := row.all(); err != nil {
					b.Fatal(err)
				}
				if i%each == 0 {
					b.StopTimer()
					alone, all = append(alone, measure(row.alone)), append(all, measure(row.all))
					b.StartTimer()
				}
			}
			b.ReportMetric(slices.Min(all)-slices.Min(alone), "ns-over")
			b.ReportMetric(slices.Min(all)/slices.Min(alone), "x-struct")
		})
	}
}
