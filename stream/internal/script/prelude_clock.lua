local function clock()
  local at = redis.call('TIME')
  return at[1] * 1000 + math.floor(at[2] / 1000)
end
