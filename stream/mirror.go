package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
)

// Mirror is an [offset.Store] around another one that shows the offsets in the
// stream itself, where a [Trimmer] in any process, and every tool that lists
// groups, finds them. [NewMirror] makes one. The store decides; the mirror only
// says what is not to be trimmed yet. It is safe for concurrent use.
//
// An offset is shown as the last delivered ID of the consumer group
// [PositionGroup], which nobody reads. It is never ahead of the store. It may be
// behind, after a Save that failed halfway; then it holds entries back that are not
// needed, until the next. The group's lag is unknown (nil) unless it is zero.
type Mirror struct {
	client redis.UniversalClient
	stream string
	store  offset.Store
}

// NewMirror makes a mirror of a store in the stream with the given key, the name
// of the topic whose consumers use it: one stream, one mirror, as many labels as
// there are consumers. It does no I/O and closes nothing. Everything that is wrong
// with the arguments comes back in one error, each problem wrapping
// [ErrInvalidOption].
//
// The client's user needs the Redis rights
//
//	~<topic> +xinfo|groups +xgroup|create +xgroup|setid +eval +evalsha
func NewMirror(client redis.UniversalClient, stream string, store offset.Store) (*Mirror, error) {
	if err := errors.Join(checkClient(client), checkStream(stream),
		checkPresent("store", store, "give an offset.Store, such as an *offset.File, whose offsets are to be shown")); err != nil {
		return nil, err
	}
	return &Mirror{client: client, stream: stream, store: store}, nil
}

// Rebind implements [offset.Rebinder], for the mirror and for its store.
func (m *Mirror) Rebind(own func(redis.UniversalClient) (redis.UniversalClient, error)) (offset.Store, error) {
	bound := *m
	var err error
	if bound.client, err = own(m.client); err != nil {
		return nil, err
	}
	if store, ok := m.store.(offset.Rebinder); ok {
		bound.store, err = store.Rebind(own)
	}
	return &bound, err
}

// Load implements [offset.Store]: it returns what the store has, once the mirror
// is there too, back if need be, or at 0-0 if the store has nothing. So the
// entries that a consumer is about to read are kept from its start, before there
// is an offset. It makes the stream if it is missing.
func (m *Mirror) Load(ctx context.Context, label string) (id string, found bool, err error) {
	id, found, err = load(ctx, m.store, label)
	if err != nil {
		return "", false, err
	}
	at := id
	if !found {
		at = beginning
	}
	if err := m.show(ctx, label, at, "back"); err != nil {
		return "", false, err
	}
	return id, found, nil
}

// Save implements [offset.Store]: it saves the offset in the store and then, with
// one command more, moves the mirror there, never back. An error of either is
// returned; after it, Save may be repeated.
func (m *Mirror) Save(ctx context.Context, label, id string) error {
	// The store first: a mirror ahead of it would give up entries that come again.
	if err := save(ctx, m.store, label, id); err != nil {
		return err
	}
	return m.show(ctx, label, id, "")
}

func (m *Mirror) show(ctx context.Context, label, id, back string) error {
	// Redis takes "$" too, which another store may let pass.
	parsed, err := offset.Parse(id)
	if err != nil {
		return fmt.Errorf("stream: the offset %q cannot be shown in %s: %w", label, m.stream, err)
	}
	if err := mirrorScript.Run(ctx, m.client, []string{m.stream}, PositionGroup(label), parsed.String(), back).Err(); err != nil {
		return fmt.Errorf("stream: showing the offset %q in %s: %w", label, m.stream, err)
	}
	return nil
}

// luaCompareIDs is for scripts: above(a, b) is whether an ID comes after another. The
// parts stay strings: a Lua number is a double, in which two sequence numbers above
// 2^53 can be equal. Decimal numbers without leading zeros are ordered by length,
// then by their digits.
const luaCompareIDs = luaNamed + `
local function over(a, b)
  if #a ~= #b then return #a > #b end
  return a > b
end

local function above(a, b)
  local ams, aseq = string.match(a, '^(%d+)-(%d+)$')
  local bms, bseq = string.match(b, '^(%d+)-(%d+)$')
  return over(ams, bms) or ams == bms and over(aseq, bseq)
end
`

// mirrorScript moves the group in ARGV[1] to the ID in ARGV[2], and makes it, and
// the stream, if it is missing. It moves it back only if ARGV[3] says so.
var mirrorScript = redis.NewScript(luaCompareIDs + `
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
if groups.err then
  if not string.find(groups.err, 'no such key', 1, true) then return groups end
  groups = {}
end
for _, pairs in ipairs(groups) do
  local group = named(pairs)
  if group.name == ARGV[1] then
    local at = group['last-delivered-id']
    if above(ARGV[2], at) or ARGV[3] == 'back' and ARGV[2] ~= at then
      redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[2])
    end
    return 1
  end
end
redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[2], 'MKSTREAM')
return 1`)

func checkStream(name string) error {
	if isBlank(name) {
		return invalid("stream %q: give the key of the stream, which is the topic's Name", name)
	}
	return nil
}
