local offsets, label, link = KEYS[#KEYS], ARGV[1], ARGV[3]
local have = redis.call('HGET', KEYS[1], label) or ''
if have == link then return {'done', ''} end
if have ~= ARGV[2] then return {'fenced', have} end

local stored, id = redis.call('HGET', offsets, label), ARGV[4]
local before = stored and place(stored)
if stored and not before and ARGV[5] == 'forward' then return {'corrupt', ''} end
if before and ARGV[5] == 'forward' and not above(id, before) then id = before end

local lists, at = {}, 7
while at <= #ARGV do
  lists[#lists + 1] = at
  at = effects(at)
end
local problem = denied('HSET', KEYS[1], label, link) or denied('HSET', offsets, label, id) or
  refusal(ARGV[6], lists) or perform(lists) or
  attempt('HSET', offsets, label, id) or attempt('HSET', KEYS[1], label, link)
if problem then return redis.error_reply(problem) end
return {'ok', before or ''}
