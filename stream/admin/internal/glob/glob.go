package glob

// Match reports whether a name is one of a pattern, as Redis has them: * and ?, [abc],
// [^abc] and [a-c], and \ before a byte that is meant as it is. An empty pattern is
// everything.
func Match(pattern, name string) bool {
	if pattern == "" {
		return true
	}
	// The last * and how much of the name it has taken: only that one can be wrong.
	star, taken := -1, 0
	p, n := 0, 0
	for n < len(name) {
		if p < len(pattern) && pattern[p] == '*' {
			star, taken = p, n
			p++
			continue
		}
		if p < len(pattern) {
			if size, ok := matchesOne(pattern[p:], name[n]); ok {
				p += size
				n++
				continue
			}
		}
		if star < 0 {
			return false
		}
		taken++
		p, n = star+1, taken
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchesOne reports whether the first part of a pattern, which is no *, is for a byte,
// and how long the part is.
func matchesOne(pattern string, c byte) (size int, ok bool) {
	switch {
	case pattern[0] == '?':
		return 1, true
	case pattern[0] == '\\' && len(pattern) > 1:
		return 2, pattern[1] == c
	case pattern[0] == '[':
		return matchesSet(pattern, c)
	default:
		return 1, pattern[0] == c
	}
}

// matchesSet is matchesOne for [abc]. One that is not closed ends with the pattern, as in Redis.
func matchesSet(pattern string, c byte) (size int, ok bool) {
	i := 1
	not := i < len(pattern) && pattern[i] == '^'
	if not {
		i++
	}
	for i < len(pattern) && pattern[i] != ']' {
		low, high := pattern[i], pattern[i]
		switch {
		case low == '\\' && i+1 < len(pattern):
			i++
			low, high = pattern[i], pattern[i]
		case i+2 < len(pattern) && pattern[i+1] == '-':
			high = pattern[i+2]
			i += 2
		}
		ok = ok || min(low, high) <= c && c <= max(low, high)
		i++
	}
	return min(i+1, len(pattern)), ok != not
}
