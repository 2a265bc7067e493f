package stream

import (
	"slices"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/resp"
)

// A claim drops the note of each pending entry that it names and that the stream no
// longer has, however short it has been idle: XCLAIM and XAUTOCLAIM look at the idle
// time only afterwards, on every server (Redis 7.0 to 8.0, Valkey 8.1 and 9.1). A live
// consumer still handles such an entry, from its memory. So the idle time is looked at
// first, and each script that claims returns the entries that are gone.

// luaClaim is for scripts: claim(ids, owner, ...) makes entries pending on the owner,
// with the options of XCLAIM behind JUSTID. It returns those that the stream has, and
// those that are gone, which are not pending any more afterwards.
const luaClaim = `
local function claim(ids, owner, ...)
  local there, taken, gone = {}, {}, {}
  if #ids == 0 then return taken, gone end
  local words = {'XCLAIM', KEYS[1], ARGV[1], owner, 0}
  for _, id in ipairs(ids) do words[#words + 1] = id end
  for _, word in ipairs({'JUSTID', ...}) do words[#words + 1] = word end
  for _, id in ipairs(redis.call(unpack(words))) do there[id] = true end
  for _, id in ipairs(ids) do
    local list = there[id] and taken or gone
    list[#list + 1] = id
    if list == gone then redis.call('XACK', KEYS[1], ARGV[1], id) end -- miniredis keeps it
  end
  return taken, gone
end
`

// claimScript takes up to ARGV[5] entries that have been idle for ARGV[4] milliseconds.
// It looks at no more than 500 pending entries, from the ID in ARGV[3] on, so that it is
// short however many there are. It returns the last ID that it has looked at, empty at
// the end of the list, and the results of claim.
var claimScript = conn.NewOnceScript(luaClaim + `
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], '+', 500)
local ids, last, idle, room = {}, '', tonumber(ARGV[4]), tonumber(ARGV[5])
for i, entry in ipairs(pending) do
  if entry[3] >= idle then ids[#ids + 1] = entry[1] end
  if #ids == room or i == 500 then
    last = entry[1]
    break
  end
end
return {last, claim(ids, ARGV[2])}`)

// noteGone takes note of entries that were pending, and that a claim has found gone from
// the stream. It tells of those that no consumer handles any more.
func (s *groupSource) noteGone(ids []string) {
	for _, id := range s.window.passGone(ids) {
		s.tellGone(id)
	}
}

func (s *groupSource) tellGone(id string) {
	s.log().Warn("entry lost: it is pending, but the stream no longer has it", "entry_id", id)
	s.loseEntry(id)
}

// tellUnhandled tells, at a stop, of the entries that are held and not handled, and that
// a renewal has found gone from the stream: these cannot be handed back.
func (s *groupSource) tellUnhandled() {
	for _, id := range s.window.unhandledGone() {
		s.tellGone(id)
	}
}

func (w *window) unhandledGone() (ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, it := range w.byID {
		if it.gone && !it.taken && it.state != done {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, resp.CompareIDs)
	return ids
}

// passGone marks those of the entries that are held, and returns the others, without
// those that have left the window since it is watched.
func (w *window) passGone(ids []string) (others []string) {
	w.doubtGone(ids)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		it := w.byID[id]
		if _, left := w.left[id]; !left && (it == nil || it.taken) {
			others = append(others, id)
		}
	}
	return others
}
