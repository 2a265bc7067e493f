local function named(pairs)
  local of = {}
  for i = 1, #pairs, 2 do of[pairs[i]] = pairs[i + 1] end
  return of
end
