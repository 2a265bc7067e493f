package stream

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"millrace/offset"
	"millrace/stream/internal/conn"
)

const (
	// trimStep is about how many entries one run of the script trims, so that the
	// server is free again in between: that many small ones take 0.1 ms.
	trimStep = 10_000
	// trimWalk bounds the steps of one run beyond the floor, where it looks at each entry:
	// to fetch an entry counts four, and to ask whether one is pending in a group counts
	// one. That takes a millisecond.
	trimWalk = 1500
)

// trimSource looks at who has passed what, and trims, in one step: between two
// commands an entry could be claimed, or a group be made at the beginning.
//
// KEYS[1] is the stream; ARGV are trimStep, trimWalk, the hard limits of length
// and of age in milliseconds, 0 for none, and labels with their offsets, empty for
// none. It returns how many it has trimmed, how many of them beyond the floor, how
// many remain, whether to go on (1) or not (0), the floor or nothing, and the
// positions: kind, owner, ID, state, and how many it has lost, the first and the
// last.
//
// XTRIM's ~ takes whole nodes, as many as fit in the LIMIT. Where that leaves
// much of the LIMIT, at most a node remains, which the exact form then takes.
const trimSource = luaCompareIDs + `
local key, step, walk = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local maxlen, maxage = tonumber(ARGV[3]), tonumber(ARGV[4])

local info = redis.pcall('XINFO', 'STREAM', key)
if info.err then
  if string.find(info.err, 'no such key', 1, true) then return {0, 0, 0, 0, '', {}} end
  return info
end
info = named(info)
local first = info['first-entry'] and info['first-entry'][1]

local positions, floor = {}, false
local function position(kind, owner, passed, pending)
  local p = {kind = kind, owner = owner, passed = passed, pending = pending, id = passed, state = 'passed', lost = 0, from = '', to = ''}
  if passed == '' then
    p.id, p.passed, p.state = '0-0', '0-0', 'missing'
  elseif above(passed, info['last-generated-id']) then
    p.id, p.passed, p.state = '0-0', '0-0', 'ahead'
  end
  if pending and first then
    -- What is pending, and gone from the stream already, holds nothing.
    local oldest = redis.call('XPENDING', key, owner, first, '+', 1)
    if #oldest > 0 and not above(oldest[1][1], p.id) then p.id, p.state = oldest[1][1], 'pending' end
  end
  if not floor or above(floor, p.id) then floor = p.id end
  positions[#positions + 1] = p
end
for _, pairs in ipairs(redis.call('XINFO', 'GROUPS', key)) do
  local group = named(pairs)
  position('group', group.name, group['last-delivered-id'], group.pending > 0)
end
for i = 5, #ARGV, 2 do position('label', ARGV[i], ARGV[i + 1], false) end

local trimmed, more = 0, 0
if first and floor and above(floor, first) then
  trimmed = redis.call('XTRIM', key, 'MINID', '~', floor, 'LIMIT', step)
  if trimmed > step / 2 then
    more = 1
  else
    trimmed = trimmed + redis.call('XTRIM', key, 'MINID', '=', floor)
  end
end
local length, capped = info.length - trimmed, 0
walk = math.max(1, math.floor(walk / (4 + #positions)))

local function has_passed(p, id)
  if above(id, p.passed) then return false end
  return not p.pending or #redis.call('XPENDING', key, p.owner, id, id, 1) == 0
end
if more == 0 and (maxlen > 0 and length > maxlen or maxage > 0 and length > 1) then
  local eldest = '0-0'
  if maxage > 0 then
    local now = redis.call('TIME')
    eldest = string.format('%.0f-0', math.max(0, now[1] * 1000 + math.floor(now[2] / 1000) - maxage))
  end
  local after, go_on = '-', true
  while go_on do
    -- A page is small, because entries can be large.
    local page = redis.call('XRANGE', key, after, '+', 'COUNT', 10)
    go_on = #page > 0
    for _, entry in ipairs(page) do
      local id = entry[1]
      local over = maxlen > 0 and length - capped > maxlen or above(eldest, id) and length - capped > 1
      if over and capped == walk then more = 1 end
      if not over or capped == walk then
        go_on = false
        break
      end
      capped = capped + 1
      for _, p in ipairs(positions) do
        if not has_passed(p, id) then
          if p.lost == 0 then p.from = id end
          p.lost, p.to = p.lost + 1, id
        end
      end
      after = '(' .. id
    end
  end
  if capped > 0 then redis.call('XTRIM', key, 'MAXLEN', '=', length - capped) end
end

for i, p in ipairs(positions) do
  positions[i] = {p.kind, p.owner, p.id, p.state, p.lost, p.from, p.to}
end
return {trimmed + capped, capped, length - capped, more, floor or '', positions}`

var trimScript = conn.NewOnceScript(trimSource)

// trimReply is what the script returns.
type trimReply struct {
	TrimResult
	more bool
}

// parseTrimReply reads the script's reply, and takes nothing on trust: a proxy, or
// a hook of the client's, may have made it.
func parseTrimReply(reply []any) (trimReply, error) {
	var (
		r         trimReply
		more      int64
		positions []any
	)
	if !scan(reply, &r.Trimmed, &r.Capped, &r.Remaining, &more, &r.Floor, &positions) ||
		r.Capped < 0 || r.Trimmed < r.Capped || r.Remaining < 0 || r.Floor != "" && !isID(r.Floor) {
		return trimReply{}, errors.New("the server's reply is not that of the script")
	}
	r.more = more == 1
	for i, each := range positions {
		var (
			p           Position
			kind, state string
			loss        TrimLoss
		)
		fields, ok := each.([]any)
		ok = ok && scan(fields, &kind, &p.Owner, &p.ID, &state, &loss.Count, &loss.From, &loss.To) &&
			(kind == "group" || kind == "label") && isID(p.ID) && loss.Count >= 0 &&
			(loss.Count == 0 || isID(loss.From) && isID(loss.To))
		p.State = PositionState(state)
		switch p.State {
		case PositionPassed, PositionPending, PositionMissing, PositionAhead:
		default:
			ok = false
		}
		if !ok {
			return trimReply{}, fmt.Errorf("the server's reply is not that of the script, in position %d", i+1)
		}
		p.Label = kind == "label"
		if label, mirrored := strings.CutPrefix(p.Owner, positionPrefix); mirrored && !p.Label {
			p.Owner, p.Label = label, true
		}
		r.Positions = append(r.Positions, p)
		if loss.Count > 0 {
			loss.Owner, loss.Label = p.Owner, p.Label
			r.addLoss(loss)
		}
	}
	slices.SortStableFunc(r.Positions, Position.compare)
	return r, nil
}

// addLoss adds what an owner has lost. One that is there already is the same label,
// once from a store and once from a mirror: it has not lost the entries twice. If
// one is behind, nobody can tell here whether it is the same consumer's, and the
// greater loss is told.
func (r *trimReply) addLoss(loss TrimLoss) {
	for i, other := range r.Losses {
		if other.Owner == loss.Owner && other.Label == loss.Label {
			if loss.Count > other.Count {
				r.Losses[i] = loss
			}
			return
		}
	}
	r.Losses = append(r.Losses, loss)
}

// scan stores the parts of a reply, and reports whether they are of those types.
func scan(reply []any, into ...any) bool {
	if len(reply) != len(into) {
		return false
	}
	for i, target := range into {
		ok := false
		switch target := target.(type) {
		case *int64:
			*target, ok = reply[i].(int64)
		case *string:
			*target, ok = reply[i].(string)
		case *[]any:
			*target, ok = reply[i].([]any)
		}
		if !ok {
			return false
		}
	}
	return true
}

func isID(text string) bool {
	_, err := offset.Parse(text)
	return err == nil
}
