local gates = KEYS[1]
if redis.call('HGET', gates, 'owner') ~= ARGV[1] then return 0 end
for i = 2, #ARGV do redis.call('HDEL', gates, ARGV[i]) end
if redis.call('HLEN', gates) == 2 then
  redis.call('HDEL', gates, 'owner', 'at')
else
  redis.call('HSET', gates, 'at', 0)
end
return 1
