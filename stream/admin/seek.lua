for _, pairs in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for i = 1, #pairs, 2 do group[pairs[i]] = pairs[i + 1] end
  if group.name == ARGV[1] then
    local at = group['last-delivered-id']
    if at == ARGV[2] then
      if ARGV[4] == '' then
        redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[3])
      else
        redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[3], 'ENTRIESREAD', ARGV[4])
      end
    end
    return at
  end
end
return ''
