package streamtest

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// slots is the number of hash slots of a cluster.
const slots = 16384

// slotRange is a range of slots, start and end included, and the addresses of the nodes that
// have the slots, the primary first.
type slotRange struct {
	start, end int
	nodes      []string
}

// slotRanges returns the slots and their nodes, in the view of one node.
func slotRanges(node *Redis) ([]slotRange, error) {
	reply, err := node.ask("CLUSTER", "SLOTS")
	if err != nil {
		return nil, err
	}
	var ranges []slotRange
	for _, item := range reply.([]any) {
		parts := item.([]any)
		r := slotRange{start: int(parts[0].(int64)), end: int(parts[1].(int64))}
		for _, member := range parts[2:] {
			about := member.([]any)
			r.nodes = append(r.nodes, net.JoinHostPort(about[0].(string), fmt.Sprint(about[1])))
		}
		slices.Sort(r.nodes[1:]) // each node lists the replicas in an order of its own
		ranges = append(ranges, r)
	}
	slices.SortFunc(ranges, func(a, b slotRange) int { return a.start - b.start })
	return ranges, nil
}

// describe writes ranges as "0-5460 primary replica, ...".
func describe(ranges []slotRange) string {
	var out []string
	for _, r := range ranges {
		out = append(out, fmt.Sprintf("%d-%d %s", r.start, r.end, strings.Join(r.nodes, " ")))
	}
	return strings.Join(out, ", ")
}
