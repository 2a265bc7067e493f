package resp

import (
	"strconv"

	"github.com/redis/go-redis/v9"
)

// Info reads the reply to XINFO STREAM, without the fields of entries.
func (r *Parser) Info(into *redis.XInfoStream) error {
	kind, n, err := r.Head()
	switch {
	case err != nil:
		return err
	case kind == '*':
		n /= 2
	case kind != '%':
		return Malformed("it is no map")
	}
	for range n {
		name, size, err := r.brief(maxNameSize, "a name is missing")
		if err != nil || size > maxNameSize {
			return Or(err, "a name is too long")
		}
		switch string(name) {
		case "length":
			into.Length, err = r.number()
		case "entries-added":
			into.EntriesAdded, err = r.number()
		case "last-generated-id":
			into.LastGeneratedID, err = r.ReadID()
		case "max-deleted-entry-id":
			into.MaxDeletedEntryID, err = r.ReadID()
		case "first-entry":
			into.FirstEntry.ID, err = r.entryID()
		case "last-entry":
			into.LastEntry.ID, err = r.entryID()
		default:
			err = r.Skip(1, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// number reads an integer.
func (r *Parser) number() (int64, error) {
	line, err := r.line()
	if err != nil || line[0] != ':' {
		return 0, Or(err, "a number is none")
	}
	return strconv.ParseInt(string(line[1:]), 10, 64)
}

// ReadID reads an ID.
func (r *Parser) ReadID() (string, error) {
	text, size, err := r.brief(maxNameSize, "an ID is missing")
	if err != nil || size > maxNameSize {
		return "", Or(err, "an ID is too long")
	}
	return string(text), nil
}

// entryID reads an entry, of which there may be none.
func (r *Parser) entryID() (string, error) {
	kind, n, err := r.Head()
	if err != nil || n < 0 || kind == '_' {
		return "", err
	}
	if kind != '*' || n < 1 {
		return "", Malformed("an entry is no pair")
	}
	id, err := r.ReadID()
	if err != nil {
		return "", err
	}
	return id, r.Skip(int64(n-1), nil)
}
