// Package peers compares the codecs of package compat with the libraries whose entries they are
// for. It has tests only, in a module of its own, so that programs do not get those libraries.
package peers
