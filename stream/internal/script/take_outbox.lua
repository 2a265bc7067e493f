local gates, lease = KEYS[1], tonumber(ARGV[2])
local owner = redis.call('HGET', gates, 'owner')
local now = clock()
local wait = (tonumber(redis.call('HGET', gates, 'at') or 0) or 0) + lease - now
if owner ~= ARGV[1] and owner ~= ARGV[3] and wait > 0 and wait <= lease then return {wait, {}} end
local no = denied('HSET', gates, 'f', 'v')
if no then return no end
redis.call('HSET', gates, 'owner', ARGV[1], 'at', string.format('%.0f', now))
return {0, redis.call('HGETALL', gates)}
