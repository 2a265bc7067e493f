package groupmode

import (
	"context"
	"time"

	"millrace/codec"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
	"millrace/stream/internal/window"
)

// deliverer makes entries ready for their handler.
type deliverer struct {
	*consumer
	leases *leases
}

// Begin fetches an entry that is delivered again, or was read without its fields,
// and counts the delivery.
func (d *deliverer) Begin(ctx context.Context, it *window.Item) bool {
	if it.Entry == nil {
		if !it.Uncounted {
			// It may have made a consumer crash: entries that are done are acked before, or
			// each of them would be charged with that crash as well, and in the end be over the
			// limit without a fault of its own.
			_ = d.host.Settle(ctx) // the only error is that ctx is done: then the stop acks
		}
		if !d.fetchAgain(ctx, it) || !d.held.QueueUp(it) {
			return false
		}
	}
	return true
}

// fetchAgain fetches an entry that is delivered again, and counts the delivery. It
// reports false if there is nothing to deliver.
func (d *deliverer) fetchAgain(ctx context.Context, it *window.Item) bool {
	charge := 1
	if it.Uncounted {
		charge = 0
	}
	var outcome string
	err := d.host.Persist(ctx, "fetching an entry to deliver it again", func(ctx context.Context) (err error) {
		outcome, err = d.beginAgain(ctx, it, charge)
		if err == nil && outcome == "dropped" && !d.held.IsDoubtful(it) {
			// This consumer may have been removed from the group. Then it is taken back.
			if err = d.leases.renewSince(ctx, time.Now()); err == nil {
				outcome, err = d.beginAgain(ctx, it, charge)
			}
		}
		return err
	})
	switch {
	case err != nil: // stopped
		d.window.End(it, window.Unread)
		return false
	case outcome == "ours":
		return true
	case outcome == "dropped" && !d.window.IsTaken(it):
		return d.fetchUnowned(ctx, it)
	case outcome == "gone":
		d.log.Warn("entry lost: it is pending, but the stream no longer has it", "entry_id", it.ID)
		d.tellLost(it.ID)
	default:
		d.log.Info("entry given up before it was processed: another consumer has it", "entry_id", it.ID)
	}
	d.window.Forget(it)
	return false
}

// beginAgain runs the script that counts the delivery.
func (d *deliverer) beginAgain(ctx context.Context, it *window.Item, charge int) (outcome string, err error) {
	at := time.Now()
	reply, err := script.Begin.Run(ctx, d.client, []string{d.stream}, d.group, d.name, it.ID, charge, d.most()).Slice()
	switch {
	case conn.Classify(err).Class == conn.Gone:
		// The reader makes the group again, but may be waiting for us.
		d.held.DoubtAll()
		return "dropped", nil
	case err != nil:
		return "", err
	}
	outcome, _ = reply[0].(string)
	if outcome == "ours" {
		count, _ := reply[1].(int64)
		d.held.Load(it, fetched(it.ID, reply[2:]), count)
		it.Uncounted = false
		d.held.NoteRenewed([]string{it.ID}, at)
	}
	return outcome, nil
}

// fetchUnowned fetches an entry whose group has gone, and with it the note that
// the entry is ours. No other consumer knows of it either, so it is processed as long
// as the stream has it.
func (d *deliverer) fetchUnowned(ctx context.Context, it *window.Item) bool {
	var found []any
	err := d.host.Persist(ctx, "fetching an entry to deliver it again", func(ctx context.Context) (err error) {
		found, err = script.Fetch.Run(ctx, d.client, []string{d.stream}, it.ID, d.most()).Slice()
		return err
	})
	switch {
	case err != nil:
		d.window.End(it, window.Unread)
		return false
	case len(found) == 0:
		d.log.Warn("entry lost: the stream no longer has it", "entry_id", it.ID)
		d.tellLost(it.ID)
		d.window.Forget(it)
		return false
	}
	d.held.Load(it, fetched(it.ID, found), it.Deliveries+1)
	return true
}

// most is how large an entry may be for a script to return its fields, 0 is no
// limit.
func (d *deliverer) most() int {
	if d.maxEntry == nil {
		return 0
	}
	return *d.maxEntry
}

// fetched makes an entry of the reply of a script: its size and, if it is not too
// large, its names and values.
func fetched(id string, found []any) *resp.Entry {
	size, _ := found[0].(int64)
	entry := &resp.Entry{ID: id, Size: uint32(size)} //nolint:gosec // Redis takes no entry of a gigabyte
	if pairs, ok := found[1].([]any); ok {
		entry.Fields = fieldsOf(pairs)
	}
	return entry
}

func fieldsOf(found []any) codec.Fields {
	pairs := make([]string, len(found))
	for i := range found {
		pairs[i], _ = found[i].(string)
	}
	return codec.FieldsOf(pairs...)
}
