local have = redis.call('HGET', KEYS[1], ARGV[1]) or ''
local stored = redis.call('HGET', KEYS[2], ARGV[1])
local number = tonumber(string.match(have, '^(%d+)-') or 0)
local chain = string.format('%.0f', number + 1) .. '-' .. ARGV[2]
redis.call('HSET', KEYS[1], ARGV[1], chain .. ':0')
if ARGV[3] ~= '' then redis.call('HSET', KEYS[2], ARGV[1], ARGV[3]) end
return {chain, stored}
