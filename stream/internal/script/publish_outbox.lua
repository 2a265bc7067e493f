local topic, gates = KEYS[1], KEYS[2]
if redis.call('HGET', gates, 'owner') ~= ARGV[1] then return {-1, ''} end
local kind = redis.call('TYPE', topic).ok
if kind ~= 'none' and kind ~= 'stream' then
  return redis.error_reply('WRONGTYPE the key ' .. topic .. ' is a ' .. kind .. ', and rows of the outbox need a stream')
end
local no = denied('XADD', topic, '*', 'f', 'v') or denied('HSET', gates, 'f', 'v') or denied('HDEL', gates, 'f')
if no then return no end
redis.call('HSET', gates, 'at', string.format('%.0f', clock()))
local at, done, problem = 3 + tonumber(ARGV[2]), 0, ''
for i = 3, at - 1 do redis.call('HDEL', gates, ARGV[i]) end
while at < #ARGV do
  local token, last = ARGV[at], at + 2 + tonumber(ARGV[at + 2])
  if redis.call('HEXISTS', gates, token) == 0 then
    local answer = redis.pcall('XADD', topic, '*', unpack(ARGV, at + 3, last))
    if type(answer) == 'table' then
      problem = answer.err
      break
    end
    redis.call('HSET', gates, token, ARGV[at + 1])
  end
  done = done + 1
  at = last + 1
end
return {done, problem}
