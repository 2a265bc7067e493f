local have = redis.call('HGET', KEYS[1], ARGV[1]) or ''
local number, name = string.match(have, '^(%d+)-(%w+):%d+$')
if name ~= ARGV[2] then
  have = string.format('%.0f', tonumber(number or 0) + 1) .. '-' .. ARGV[2] .. ':0'
  redis.call('HSET', KEYS[1], ARGV[1], have)
end
return {have, redis.call('HGET', KEYS[2], ARGV[1])}
