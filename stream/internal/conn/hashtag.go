package conn

import "strings"

// HashTag returns the part of a key that decides about its cluster slot.
func HashTag(key string) string {
	if _, rest, found := strings.Cut(key, "{"); found {
		if tag, _, found := strings.Cut(rest, "}"); found && tag != "" {
			return tag
		}
	}
	return key
}
