package logmode

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/effect"
	"millrace/stream/internal/script"
	"millrace/stream/internal/window"
)

// errFellBack says that the server has lost the last commits, offsets and effects together.
var errFellBack = errors.New("the server is at an earlier state, after a failover or a restart, or the link of the label was removed; the entries behind the offset that it has are handled again, and their effects, which are gone with the offset, are written again")

// chain moves the offset of a consumer with effects, in one step with these. The label has a link on
// the server, and a commit is a step from one link to the next: it is refused if the label has another
// link, and was made before, by a try whose reply was lost, if it has the next one. Each leg begins
// a chain of its own, and so does a seek; that ends the chain before. So the consumer that was started last goes on,
// and a commit of another one, however late it comes, writes nothing.
//
// A chain has a number, and a name, which is the number and a random text. The number only tells why
// the label has a link of another chain: one with a lower number was there before, so that the
// server has fallen back; one with the same number or a higher one is another consumer's.
//
// It has no lock: it is used as stored is. Known alone may be loaded at any time.
type chain struct {
	client  redis.UniversalClient
	keys    []string // of the links, the targets and the offsets
	targets *effect.Targets
	label   string
	random  string // what its name ends with

	name string // empty before begin
	n    uint64 // the number of the last link
	// sent is a commit that has no answer yet. It is sent again, as it is, before anything else: the
	// next link stands for its entries, and no others.
	sent *step
	// passed is how many of the first entries of a settling were committed, until all are.
	passed int
	// over is why the chain has ended.
	over error
	// known is the last link that the label is known to have had.
	known atomic.Value
}

// step is one commit.
type step struct {
	args    []any
	id      string // the offset
	entries int    // how many entries it settles
}

// newChain returns a chain for a store that keeps its offsets in Redis.
func newChain(store offset.Located, targets *effect.Targets, label string) *chain {
	client, key := store.Location()
	return &chain{
		client: client, targets: targets, label: label, random: rand.Text(),
		keys: append(append([]string{LinksKey(key)}, targets.Keys()...), key),
	}
}

// LinksKey is the key of the hash of links, beside that of the offsets and in its hash slot.
func LinksKey(offsets string) string {
	if conn.HashTag(offsets) == offsets {
		offsets = "{" + offsets + "}"
	}
	return offsets + ":links"
}

// begin begins the chain, and returns the offset that is stored. It may be repeated: a try that
// reaches the server late, behind another one, changes nothing.
func (c *chain) begin(ctx context.Context) (id string, found bool, err error) {
	offsets := c.keys[len(c.keys)-1]
	reply, err := script.BeginChain.Run(ctx, c.client, []string{c.keys[0], offsets}, c.label, c.random).Slice()
	if err != nil {
		return "", false, err
	}
	link, _ := reply[0].(string)
	c.name, c.n = split(link)
	c.sent, c.passed, c.over = nil, 0, nil
	c.known.Store(link)
	id, found = reply[1].(string)
	if parsed, err := offset.Parse(id); err == nil {
		id = parsed.String()
	}
	return id, found, nil
}

// save commits an offset alone. It returns the one that was stored before, as send.
func (c *chain) save(ctx context.Context, id string, force bool) (before string, err error) {
	if c.sent != nil {
		if _, err := c.send(ctx); err != nil {
			return "", err
		}
	}
	c.step(id, force, nil)
	return c.send(ctx)
}

// step makes the next commit, with the effects of entries. Where force is set the offset may go back.
func (c *chain) step(id string, force bool, list []*window.Item) {
	size := 6
	for _, it := range list {
		size += it.Effects.ArgsLen()
	}
	how := "forward"
	if force {
		how = "force"
	}
	args := append(make([]any, 0, size), c.label, c.link(c.n), c.link(c.n+1), id, how, c.targets.Kinds())
	for _, it := range list {
		if it.Effects != nil {
			args = it.Effects.AppendArgs(args, c.targets, 2)
		}
	}
	c.sent = &step{args: args, id: id, entries: len(list)}
}

// next makes the next commit of a settling: of as many entries as are committed at once.
func (c *chain) next(list []*window.Item) {
	n, with, bytes := 0, 0, int64(0)
	for ; n < len(list); n++ {
		if list[n].Effects == nil {
			continue
		}
		with++
		bytes += list[n].Effects.Bytes()
		if with > 1 && (with > effect.CommitEntries || bytes > effect.CommitBytes) {
			break
		}
	}
	c.step(list[n-1].ID, false, list[:n])
}

// send makes one try of the commit that is to be answered. It returns the offset that was stored before, empty
// if that is not known.
func (c *chain) send(ctx context.Context) (before string, err error) {
	if c.over != nil {
		return "", c.over
	}
	reply, err := script.EffectsLog.Run(ctx, c.client, c.keys, c.sent.args...).StringSlice()
	if conn.Classify(err).Class == conn.Final {
		c.over = err // half of it was written
	}
	if err != nil {
		return "", err
	}
	switch reply[0] {
	case "fenced":
		c.over = c.fencedBy(reply[1])
		return "", c.over
	case "corrupt":
		return "", offset.ErrCorrupt
	}
	c.n++
	c.known.Store(c.link(c.n))
	c.passed += c.sent.entries
	c.sent = nil
	return reply[1], nil
}

// look looks whether the server has fallen back behind the last commit that it has answered: without
// another one, nothing else would tell. It may be called at any time after begin.
func (c *chain) look(ctx context.Context) error {
	known, _ := c.known.Load().(string)
	have, err := c.client.HGet(ctx, c.keys[0], c.label).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("looking at the link of the label %q: %w", c.label, err)
	}
	name, n := split(have)
	if ours, before := split(known); name == ours && n >= before || name != ours && numberOf(name) >= numberOf(ours) {
		return nil // another consumer's is left to the next commit
	}
	return errFellBack
}

// fencedBy returns why the label has a link that is not the one to go on from.
func (c *chain) fencedBy(link string) error {
	name, _ := split(link)
	if name == c.name || numberOf(name) < numberOf(c.name) {
		return errFellBack
	}
	return fmt.Errorf("the label %q: %w", c.label, conn.ErrFenced)
}

// split returns the name of a link's chain, and the number of the link.
func split(link string) (name string, n uint64) {
	name, digits, _ := strings.Cut(link, ":")
	n, _ = strconv.ParseUint(digits, 10, 64) // 0 of a text that is no link
	return name, n
}

// numberOf returns the number of a chain, 0 for a text that is the name of none.
func numberOf(name string) uint64 {
	digits, _, _ := strings.Cut(name, "-")
	n, _ := strconv.ParseUint(digits, 10, 64) // 0 then
	return n
}

func (c *chain) link(n uint64) string { return c.name + ":" + strconv.FormatUint(n, 10) }
