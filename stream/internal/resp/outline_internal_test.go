package resp

import (
	"bytes"
	"io"
	"testing"

	"millrace/stream/internal/resp/resptest"
)

// Looking through a reply takes nothing of it, however it comes, and tells its end.
func TestOutline(t *testing.T) {
	t.Parallel()
	resptest.Protocols(t, func(t *testing.T, protocol int) {
		for _, size := range []int{0, 99, 100, WireSize, aheadSize / 3} {
			reply := resptest.Numbered(protocol, 3, 5, size)
			for _, piece := range []int{1, 7, 1 << 16, 1 << 30} {
				if size > 100 && piece < 100 {
					continue // a minute each
				}
				w := Reader{Conn: &pieces{data: []byte(reply), size: piece}}
				if err := w.fill(); err != nil {
					t.Fatal(err)
				}
				n, last, ok := (&Outline{Wire: &w}).Entries()
				if fits := len(reply) <= aheadSize; ok != fits || fits && (n != 3 || last != "5-0") {
					t.Errorf("values of %d bytes in pieces of %d: %d, %q, %v", size, piece, n, last, ok)
				}
				rest, err := io.ReadAll(w.Conn)
				if got := string(w.Unread()) + string(rest); err != nil || got != reply {
					t.Errorf("values of %d bytes in pieces of %d: %d bytes are left, want %d", size, piece, len(got), len(reply))
				}
				if w.At = w.end; cap(w.Buf) > WireSize {
					if w.Shrink(); w.Buf != nil {
						t.Errorf("%d bytes are kept", cap(w.Buf))
					}
				}
			}
		}
	})
	for _, other := range []string{"*-1\r\n", "-ERR no\r\n", "*2\r\n", "*1\r\n*3\r\n", "*1\r\n*2\r\n$1\r\ns\r\n*0\r\n", "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*-1\r\n", "nonsense", "\n\n\n", ""} {
		w := Reader{Conn: bytes.NewReader([]byte(other))}
		if n, last, ok := (&Outline{Wire: &w}).Entries(); ok {
			t.Errorf("%q has %d entries, the last %q", other, n, last)
		}
	}
}
