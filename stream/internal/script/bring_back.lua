local stream, due, contents = KEYS[1], KEYS[2], KEYS[3]
local group, owner, most, again = ARGV[1], ARGV[2], tonumber(ARGV[4]), ARGV[5]
local now = clock()
local ids = redis.call('ZRANGEBYSCORE', due, '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[3])
if #ids > 0 then
  redis.call('XPENDING', stream, group, '-', '+', 1) -- a group that is gone is found before the first write
  local no = denied('XCLAIM', stream, group, owner, '0', '0-0') or denied('HDEL', contents, ids[1]) or
    denied('ZREM', due, ids[1]) or denied('ZADD', due, again, ids[1])
  if no then return no end
end

local function unpacked(packed)
  local readable, words = pcall(cmsgpack.unpack, packed)
  if not readable or type(words) ~= 'table' or type(words[1]) ~= 'number' or #words < 3 or #words % 2 ~= 1 then return end
  return table.remove(words, 1), words
end

local function same(a, b)
  if #a ~= #b then return false end
  for i = 1, #a do
    if a[i] ~= b[i] then return false end
  end
  return true
end

-- The fields of an entry that is added again end with the headers for this group, once.
local function add(fields, count)
  local n = #fields
  if n >= 4 and fields[n - 1] == 'millrace.deliveries' and fields[n - 3] == 'millrace.for' then
    count = count + (tonumber(fields[n]) or 0)
    n = n - 4
  end
  if n > 7900 then return {err = 'ERR the stream does not have it any more, and it has too many fields to be added again'} end
  if denied('XADD', stream, '*', 'f', 'v') then
    return {err = 'ERR the stream does not have it any more, and this user has no permission to add it again; grant +xadd on it'}
  end
  for i, word in ipairs({'millrace.for', 'group:' .. group, 'millrace.deliveries', string.format('%d', count)}) do fields[n + i] = word end
  return redis.pcall('XADD', stream, '*', unpack(fields, 1, n + 4))
end

local back, added, lost, kept, size, problem = 0, 0, {}, {}, 0, ''
for _, id in ipairs(ids) do
  local packed = redis.call('HGET', contents, id)
  if packed and size > 0 and size + #packed > most then break end
  if not packed then
    redis.call('ZREM', due, id)
    lost[#lost + 1] = id
  else
    size = size + #packed
    local count, fields = unpacked(packed)
    local answer
    if not count then
      answer = {err = 'ERR the contents are none of an entry that was put off'}
    else
      local found = redis.call('XRANGE', stream, id, id)
      if #found == 0 or not same(found[1][2], fields) then
        answer = add(fields, count)
        if type(answer) ~= 'table' then added = added + 1 end
      elseif #redis.call('XPENDING', stream, group, id, id, 1) == 0 then -- else the group has read it once more
        answer = redis.pcall('XCLAIM', stream, group, owner, 0, id, 'IDLE', 86400000, 'RETRYCOUNT', count, 'FORCE', 'JUSTID')
      end
    end
    if type(answer) ~= 'table' or not answer.err then
      redis.call('ZREM', due, id)
      redis.call('HDEL', contents, id)
      back = back + 1
    elseif string.match(answer.err, '^%-?(%u+) ') ~= 'ERR' then -- it would be the same with all others
      if back + #lost + #kept == 0 then return answer end
      break
    else
      redis.call('ZADD', due, string.format('%.0f', now + again), id)
      kept[#kept + 1], problem = id, answer.err
    end
  end
end
local first, wait = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES'), -1
if #first > 0 then wait = math.max(0, tonumber(first[2]) - clock()) end
return {back, wait, lost, kept, problem, added}
