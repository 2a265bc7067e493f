local due, contents, topic = KEYS[1], KEYS[2], KEYS[3]
local most, again = tonumber(ARGV[2]), ARGV[3]
local now = clock()
local tickets = redis.call('ZRANGEBYSCORE', due, '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[1])
if #tickets > 0 then
  local no = denied('XADD', topic, '*', 'f', 'v') or denied('HDEL', contents, tickets[1]) or
    denied('ZREM', due, tickets[1]) or denied('ZADD', due, again, tickets[1])
  if no then return no end
end

-- add returns the answer to XADD, or an error for contents of another form.
local function add(packed)
  local readable, words = pcall(cmsgpack.unpack, packed)
  if not readable or type(words) ~= 'table' or #words < 4 or #words % 2 ~= 0 or #words > 7950 then
    return {err = 'ERR the contents are none of PublishAt'}
  end
  local command = {'XADD', topic}
  if words[1] == 'age' then
    command = {'XADD', topic, 'MINID', '~', string.format('%.0f', math.max(0, now - words[2]))}
  elseif words[1] ~= '' then
    command = {'XADD', topic, 'MAXLEN', words[1], words[2]}
  end
  command[#command + 1] = '*'
  for i = 3, #words do command[#command + 1] = words[i] end
  return redis.pcall(unpack(command))
end

local moved, lost, kept, size, problem = 0, {}, {}, 0, ''
for _, ticket in ipairs(tickets) do
  local packed = redis.call('HGET', contents, ticket)
  if packed and size > 0 and size + #packed > most then break end
  if not packed then
    redis.call('ZREM', due, ticket)
    lost[#lost + 1] = ticket
  else
    size = size + #packed
    local answer = add(packed)
    if type(answer) ~= 'table' then
      redis.call('ZREM', due, ticket)
      redis.call('HDEL', contents, ticket)
      moved = moved + 1
    elseif string.match(answer.err, '^%-?(%u+) ') ~= 'ERR' then -- it would be the same with all others
      if moved + #lost + #kept == 0 then return answer end
      break
    else
      redis.call('ZADD', due, string.format('%.0f', now + again), ticket)
      kept[#kept + 1], problem = ticket, answer.err
    end
  end
end
local first, wait = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES'), -1
if #first > 0 then wait = math.max(0, tonumber(first[2]) - clock()) end
return {moved, wait, lost, kept, problem}
