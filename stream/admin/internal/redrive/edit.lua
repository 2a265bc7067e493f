if redis.acl_check_cmd and not redis.acl_check_cmd('XDEL', KEYS[1], '0-0') then
  return redis.error_reply('NOPERM this user has no permissions to run the xdel command on the dead letters')
end
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
local f = found[1] and found[1][2]
if not f or f[#f] ~= ARGV[2] then return {'gone'} end
local id = redis.pcall('XADD', KEYS[2], '*', unpack(ARGV, 3))
if type(id) == 'table' then return id end
redis.call('XDEL', KEYS[1], ARGV[1])
return {id}
