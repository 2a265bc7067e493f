package streamtest

import (
	"bufio"
	"bytes"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// claims makes a miniredis count the deliveries of claims as Redis does. In Redis, XCLAIM and
// XAUTOCLAIM with JUSTID count no delivery; in miniredis (2.40) they count one. Without this
// type, each renewal of a lease would add a delivery to its entry, and an entry could reach a
// limit that it never reaches on a server.
//
// A claim in a MULTI is not corrected, because miniredis answers the command before it is
// executed.
type claims struct {
	server *server.Server

	mu    sync.Mutex
	asked map[*server.Peer]bool // our own peers, whose commands are executed unchanged
}

// CountAsRedis makes a miniredis of your own count deliveries as a server counts them, from now
// on: a claim with JUSTID, such as the renewal of a lease, is no delivery. Claims in a MULTI
// are the exception. The miniredis has to be started already, and CountAsRedis replaces the
// pre-hook of its server. [Run] calls CountAsRedis for its own miniredis.
func CountAsRedis(memory *miniredis.Miniredis) {
	c := &claims{server: memory.Server(), asked: make(map[*server.Peer]bool)}
	c.server.SetPreHook(c.handle)
}

// handle is called before each command, also before each command of a script. It reports
// whether it has answered the command.
func (c *claims) handle(peer *server.Peer, command string, args ...string) bool {
	if command != "XCLAIM" && command != "XAUTOCLAIM" || c.isOurs(peer) {
		return false
	}
	has := func(option string) bool {
		return slices.ContainsFunc(args[min(4, len(args)):], func(arg string) bool { return strings.EqualFold(arg, option) })
	}
	if !has("JUSTID") || has("RETRYCOUNT") {
		return false
	}
	raw, reply := c.ask(peer, command, args...)
	for _, id := range claimed(command, reply) {
		if n := c.deliveries(peer, args[0], args[1], id); n > 0 {
			c.ask(peer, "XCLAIM", args[0], args[1], args[2], "0", id, "RETRYCOUNT", strconv.Itoa(n-1), "JUSTID")
		}
	}
	peer.WriteRaw(raw)
	return true
}

func (c *claims) isOurs(peer *server.Peer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[peer]
}

// ask executes a command in the place of a peer, in its script if the peer is in one. An error
// of miniredis is in the raw reply only.
func (c *claims) ask(of *server.Peer, command string, args ...string) (raw string, reply any) {
	var out bytes.Buffer
	peer := server.NewPeer(bufio.NewWriter(&out))
	peer.Ctx, peer.Resp3 = of.Ctx, of.Resp3
	c.mu.Lock()
	c.asked[peer] = true
	c.mu.Unlock()
	c.server.Dispatch(peer, append([]string{command}, args...))
	c.mu.Lock()
	delete(c.asked, peer)
	c.mu.Unlock()
	peer.Flush()
	raw = out.String()
	reply, err := server.ParseReply(bufio.NewReader(&out))
	if err != nil {
		return raw, nil
	}
	return raw, reply
}

// claimed returns the IDs of the claimed entries in a reply.
func claimed(command string, reply any) (ids []string) {
	list, _ := reply.([]any)
	if command == "XAUTOCLAIM" {
		if len(list) < 2 {
			return nil
		}
		list, _ = list[1].([]any)
	}
	for _, one := range list {
		if id, ok := one.(string); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// deliveries returns the delivery count that miniredis has for a pending entry, or 0 if the
// entry is not pending.
func (c *claims) deliveries(peer *server.Peer, stream, group, id string) int {
	_, reply := c.ask(peer, "XPENDING", stream, group, id, id, "1")
	list, _ := reply.([]any)
	if len(list) != 1 {
		return 0
	}
	if entry, _ := list[0].([]any); len(entry) == 4 {
		n, _ := entry[3].(int)
		return n
	}
	return 0
}
