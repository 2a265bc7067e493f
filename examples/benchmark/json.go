package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"millrace/codec"
)

// document is an event of the size and the kinds that JSON is used for.
type document struct {
	Order    string            `json:"order"`
	Customer customer          `json:"customer"`
	Items    []item            `json:"items"`
	Total    float64           `json:"total"`
	At       time.Time         `json:"at"`
	Paid     bool              `json:"paid"`
	Labels   map[string]string `json:"labels"`
	Note     *string           `json:"note"`
}

type customer struct {
	ID      int64    `json:"id"`
	Name    string   `json:"name"`
	Address []string `json:"address"`
}

type item struct {
	SKU   string  `json:"sku"`
	Count int64   `json:"count"`
	Price float64 `json:"price"`
	Gift  bool    `json:"gift"`
}

// makeDocument returns a document of about 1 KB.
func makeDocument(i int) document {
	d := document{
		Order:    fmt.Sprintf("order-%08d", i),
		Customer: customer{ID: int64(i), Name: "Ada Lovelace", Address: []string{"12 St James's Square", "London"}},
		Total:    1234.5, At: time.UnixMilli(firstMilli + int64(i)).UTC(), Paid: i%2 == 0,
		Labels: map[string]string{"channel": "web", "tier": "gold"},
	}
	for n := range 12 {
		d.Items = append(d.Items, item{SKU: fmt.Sprintf("sku-%06d", i+n), Count: quantity(i + n), Price: 12.95, Gift: n%2 == 0})
	}
	return d
}

// json compares the codec with encoding/json, neither of which validates.
func (b *bench) json(ctx context.Context) ([]line, error) {
	const documents = 200
	n := b.entries / 10
	c := codec.JSON[document]{}
	values, texts, entries := make([]document, documents), make([][]byte, documents), make([]codec.Fields, documents)
	for i := range documents {
		values[i] = makeDocument(i)
		pairs, err := c.Encode(values[i])
		if err != nil {
			return nil, err
		}
		texts[i], entries[i] = []byte(pairs[1]), codec.FieldsOf(pairs...)
	}
	each := func(name, target string, one func(i int) error) variant {
		return variant{name: name, entries: n, target: target, run: func(context.Context, int) error {
			for i := range n {
				if err := one(i % documents); err != nil {
					return err
				}
			}
			return nil
		}}
	}
	isOf := func(d *document, i int) error {
		if d.Customer.ID != int64(i) || len(d.Items) != 12 {
			return fmt.Errorf("document %d is decoded as that of %d with %d items", i, d.Customer.ID, len(d.Items))
		}
		return nil
	}
	decoding, err := b.compare(ctx,
		each("encoding/json, decoding 1 KB", "", func(i int) error {
			var d document
			if err := json.Unmarshal(texts[i], &d); err != nil {
				return err
			}
			return isOf(&d, i)
		}),
		each("codec.JSON, decoding", ">= 1.5", func(i int) error {
			d, err := c.Decode(entries[i])
			if err != nil {
				return err
			}
			return isOf(&d, i)
		}),
	)
	if err != nil {
		return nil, err
	}
	encoding, err := b.compare(ctx,
		each("encoding/json, encoding 1 KB", "", func(i int) error {
			text, err := json.Marshal(&values[i])
			if err == nil && len(text) != len(texts[i]) {
				err = fmt.Errorf("document %d has %d bytes, want %d", i, len(text), len(texts[i]))
			}
			return err
		}),
		each("codec.JSON, encoding", ">= 0.9", func(i int) error {
			pairs, err := c.Encode(values[i])
			if err == nil && len(pairs[1]) != len(texts[i]) {
				err = fmt.Errorf("document %d has %d bytes, want %d", i, len(pairs[1]), len(texts[i]))
			}
			return err
		}),
	)
	return append(decoding, encoding...), err
}
