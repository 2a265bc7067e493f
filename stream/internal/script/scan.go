package script

// Scan stores the parts of a script's reply, and reports whether the reply has as many, of
// those types: *int64, *string or *[]any. It takes nothing on trust: a proxy, or a hook of
// the client's, may have made the reply.
func Scan(reply []any, into ...any) bool {
	if len(reply) != len(into) {
		return false
	}
	for i, target := range into {
		ok := false
		switch target := target.(type) {
		case *int64:
			*target, ok = reply[i].(int64)
		case *string:
			*target, ok = reply[i].(string)
		case *[]any:
			*target, ok = reply[i].([]any)
		}
		if !ok {
			return false
		}
	}
	return true
}
