local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', 500)
return {#found, #found > 0 and found[#found][1] or ''}
