for _, pairs in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for i = 1, #pairs, 2 do group[pairs[i]] = pairs[i + 1] end
  if group.name == ARGV[1] then
    if ARGV[4] == '' and (group['last-delivered-id'] ~= ARGV[2] or group.pending ~= tonumber(ARGV[3])) then return 0 end
    return redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1])
  end
end
return 0
