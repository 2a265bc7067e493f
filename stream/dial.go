package stream

import (
	"context"
	"net"
)

// failsLater returns dial, which fails at the first use of the connection instead. After
// as many failures as it has connections, go-redis gives the last failure to every
// command, without a try, until a dial of its own works, which it does once a second. A
// server that is back would be away for that long.
func failsLater(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		var conn net.Conn
		err := elsewhere(func() (err error) { // the dialer may be the user's
			conn, err = dial(ctx, network, addr)
			return err
		})
		if err == nil {
			return conn, nil
		}
		nowhere, _ := net.Pipe()
		return &undialled{nowhere, err}, nil
	}
}

// undialled is a connection that could not be made.
type undialled struct {
	net.Conn
	err error
}

func (c *undialled) Read([]byte) (int, error)  { return 0, c.err }
func (c *undialled) Write([]byte) (int, error) { return 0, c.err }
