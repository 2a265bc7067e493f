local id = redis.call('GET', KEYS[2])
if id and id ~= '' then return id end
redis.call('SET', KEYS[2], '', 'PX', ARGV[1])
id = redis.pcall('XADD', KEYS[1], unpack(ARGV, 2))
if type(id) == 'table' then
	redis.pcall('DEL', KEYS[2])
	return id
end
redis.call('SET', KEYS[2], id, 'PX', ARGV[1])
return id
