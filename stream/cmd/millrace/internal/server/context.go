package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Context is a server with a name, from the file of contexts.
type Context struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	// ReadOnly refuses all changes.
	ReadOnly bool `json:"readonly,omitempty"`
	// Confirm is a text that is to be typed before each change, such as the name.
	Confirm string `json:"confirm,omitempty"`
}

// Contexts reads the file of contexts. A file that is missing has none.
func Contexts(path string) (list []Context, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the contexts: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&list); err != nil {
		return nil, fmt.Errorf(`%s is not a list of contexts, such as [{"name": "prod", "url": "redis://host:6379", "readonly": true, "confirm": "prod"}]: %w`, path, err)
	}
	return list, nil
}
