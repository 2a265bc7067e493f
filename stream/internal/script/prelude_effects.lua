local commands = {a = 'XADD', i = 'HINCRBY'}

local function effects(at, act)
  local n = tonumber(ARGV[at])
  at = at + 1
  for _ = 1, n do
    local last = at + 2 + tonumber(ARGV[at + 2])
    local problem = act and act(ARGV[at], KEYS[tonumber(ARGV[at + 1])], at + 3, last)
    if problem then return at, problem end
    at = last + 1
  end
  return at
end

local function denied(...)
  if redis.acl_check_cmd and not redis.acl_check_cmd(...) then
    return 'NOPERM the user has no permission to run ' .. ... .. ' on a key that the effects of a handler need'
  end
end

local function countable(sums, key, field, by)
  local id = #key .. ':' .. key .. field
  local sum = sums[id]
  if not sum then
    local value = redis.call('HGET', key, field) or '0'
    if value ~= '0' and not string.match(value, '^-?[1-9]%d*$') then
      return 'ERR a field of the counters in ' .. key .. ' has a value that is no integer'
    end
    sum = math.abs(tonumber(value))
  end
  sum = sum + math.abs(tonumber(by))
  if sum > 9.2e18 then return 'ERR a counter in ' .. key .. ' would be beyond 64 bits' end
  sums[id] = sum
end

local function refusal(kinds, lists)
  local target, allowed, sums = 2, {}, {}
  for kind in string.gmatch(kinds, '%S+') do
    local is = redis.call('TYPE', KEYS[target]).ok
    if is ~= 'none' and is ~= kind then
      return 'WRONGTYPE the key ' .. KEYS[target] .. ' is a ' .. is .. ', and the effects of a handler need a ' .. kind
    end
    target = target + 1
  end
  local function check(verb, key, first)
    local what = verb .. key
    if not allowed[what] then
      local problem = verb == 'a' and denied('XADD', key, '*', 'f', 'v') or verb == 'i' and denied('HINCRBY', key, 'f', '1')
      if problem then return problem end
      allowed[what] = true
    end
    return verb == 'i' and countable(sums, key, ARGV[first], ARGV[first + 1])
  end
  for _, at in ipairs(lists) do
    local _, problem = effects(at, check)
    if problem then return problem end
  end
end

local written = 0

local function attempt(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err then
    written = written + 1
    return
  end
  if written == 0 then return reply.err end
  return 'MILLRACE half of a commit was written, and then ' .. ... .. ' failed: ' .. reply.err
end

local function perform(lists)
  local function act(verb, key, first, last) return attempt(commands[verb], key, unpack(ARGV, first, last)) end
  for _, at in ipairs(lists) do
    local _, problem = effects(at, act)
    if problem then return problem end
  end
end
