package resp

// Answer reads the reply to a guard: a list of short texts and numbers, null, or an
// error. Another one is passed over.
func (r *Parser) Answer() (list []any, answer, err error) {
	if err := r.Need(1); err != nil {
		return nil, nil, err
	}
	if r.Unread()[0] == '-' {
		line, err := r.line()
		if err != nil {
			return nil, nil, err
		}
		return nil, AnswerError(line[1:]), nil
	}
	kind, n, err := r.Head()
	if err != nil || n < 0 {
		return nil, nil, err
	}
	if kind != '*' {
		return nil, nil, Malformed("a guard's reply is no list")
	}
	list = make([]any, 0, min(n, 16))
	for range n {
		if err := r.Need(1); err != nil {
			return nil, nil, err
		}
		if r.Unread()[0] == ':' {
			number, err := r.number()
			if err != nil {
				return nil, nil, err
			}
			list = append(list, number)
			continue
		}
		text, size, err := r.brief(maxShared, "a guard's reply lacks a text")
		if err != nil || size > maxShared {
			return nil, nil, Or(err, "a guard's reply has too long a text")
		}
		list = append(list, string(text))
	}
	return list, nil, nil
}

// AnswerError is an error that a server has answered with.
type AnswerError string

func (e AnswerError) Error() string { return string(e) }

// RedisError marks it as [redis.Error].
func (AnswerError) RedisError() {}
