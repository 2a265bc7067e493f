local function owners(first, step)
  local of, last, n = {}, nil, 0
  for i = first, #ARGV, step do last, n = ARGV[i], n + 1 end
  if n == 0 then return of end
  for _, entry in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[first], last, n, ARGV[2])) do of[entry[1]] = entry end
  for i = first, #ARGV, step do
    local id = ARGV[i]
    if not of[id] then of[id] = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)[1] end
  end
  return of
end
