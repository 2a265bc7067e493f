package schema_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"millrace/codec"
	"millrace/codec/schema"
)

func TestAsyncAPI(t *testing.T) {
	t.Parallel()
	api := &schema.AsyncAPI{Title: "Shop", Version: "1.2.0", Description: "What the shop tells."}
	api.Add(
		schema.Topic{Name: "shop:orders", Events: of(t, codec.Struct[orderV1]()), Producers: []string{"checkout"}, Groups: []string{"billing", "mail"}, Labels: []string{"search"}, DeadLetters: "{shop:orders}:dead", Retention: "7 days"},
		schema.Topic{Name: "trees", Events: of(t, codec.Codec[tree](codec.JSON[tree]{})), Description: "Trees."},
	)
	text, err := api.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := api.JSON(); err != nil || !bytes.Equal(text, again) {
		t.Errorf("the document is not the same twice: %v", err)
	}
	var got struct {
		AsyncAPI string
		Channels map[string]struct {
			Address  string
			Messages map[string]map[string]string
			Millrace map[string]string `json:"x-millrace"`
		}
		Operations map[string]struct {
			Action   string
			Channel  map[string]string
			Millrace map[string]string `json:"x-millrace"`
		}
		Components struct {
			Messages map[string]struct {
				Name    string
				Payload struct{ Schema map[string]any }
			}
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.AsyncAPI != "3.0.0" || len(got.Channels) != 3 || len(got.Operations) != 4 {
		t.Errorf("the document is\n%s", text)
	}
	if c := got.Channels["shop_orders"]; c.Address != "shop:orders" || c.Millrace["retention"] != "7 days" || c.Millrace["deadLetters"] != "{shop:orders}:dead" || c.Messages["event"]["$ref"] != "#/components/messages/shop_orders" {
		t.Errorf("the channel is %+v", c)
	}
	if o := got.Operations["shop_orders-group-mail"]; o.Action != "receive" || o.Channel["$ref"] != "#/channels/shop_orders" || o.Millrace["group"] != "mail" {
		t.Errorf("the operation is %+v", o)
	}
	if o := got.Operations["shop_orders-producer-checkout"]; o.Action != "send" {
		t.Errorf("the operation is %+v", o)
	}
	if m := got.Components.Messages["trees"]; m.Name != "tree" || m.Payload.Schema["$id"] != "trees.json" || m.Payload.Schema["$ref"] != "#/$defs/tree" {
		t.Errorf("the message is %+v", m)
	}
}

func TestAsyncAPIRefuses(t *testing.T) {
	t.Parallel()
	api := &schema.AsyncAPI{Title: " "}
	events := of(t, codec.Struct[orderV1]())
	api.Add(schema.Topic{Events: events}, schema.Topic{Name: "a:b", Events: events}, schema.Topic{Name: "a_b", Events: events}, schema.Topic{Name: "c"})
	_, err := api.JSON()
	const want = `schema: AsyncAPI.Title or Version is blank; give both
schema: Topic.Name is blank; give the key of the stream
schema: the topics "a:b" and "a_b" have one name in the document; rename one, or leave it out
schema: Topic.Events of "c" is empty; make it with Of`
	if err == nil || err.Error() != want {
		t.Errorf("the error is\n%v", err)
	}
}
