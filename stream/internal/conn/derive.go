package conn

import (
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// derivation is the difference between a client of the engine and the user's. All
// options that are not named in derive are kept.
type derivation struct {
	// dialer wraps the user's.
	dialer func(dialFunc) dialFunc
	// identify wraps the user's OnConnect; nil leaves it.
	identify func(onConnect) onConnect
	// connections is how many there may be, in a cluster of each node.
	connections int
	// contexts has the deadlines of contexts count.
	contexts bool
}

// derived is a client that was made from the options of the user's.
type derived struct {
	client redis.UniversalClient
	// masters asks where the servers are that may be read from; nil is where there is
	// but one.
	masters mastersFunc
}

// derive makes a client from the options of the user's. It tries nothing again by
// itself, has short timeouts, and asks primaries only: a replica may be behind, or cut
// off from its primary without saying so.
func derive(client redis.UniversalClient, own derivation) (derived, error) {
	identify := func(user onConnect) onConnect {
		if user = safeConnect(user); own.identify != nil {
			return own.identify(user)
		}
		return user
	}
	switch client := client.(type) {
	case *redis.Client:
		opts := *client.Options()
		var made derived
		if opts.Addr == behindSentinels {
			made.masters = masterBySentinel(opts.Dialer)
		}
		opts.Dialer = failsLater(own.dialer(opts.Dialer))
		opts.OnConnect = identify(opts.OnConnect)
		opts.CredentialsProviderContext = safeCredentials(opts.CredentialsProvider, opts.CredentialsProviderContext)
		opts.PoolSize, opts.MinIdleConns, opts.MaxIdleConns, opts.MaxActiveConns, opts.PipelinePoolSize = own.connections, 0, 0, 0, -1
		opts.MaxRetries, opts.DialerRetries = -1, 1
		opts.DialTimeout, opts.ReadTimeout = atMost(opts.DialTimeout), atMost(opts.ReadTimeout)
		opts.WriteTimeout = given(opts.WriteTimeout)
		opts.ContextTimeoutEnabled = opts.ContextTimeoutEnabled || own.contexts
		opts.ClientSideCacheConfig, opts.ClientSideCache = nil, nil
		opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		opts.PushNotificationProcessor = nil // the one that is there was set up for the user's connections
		made.client = redis.NewClient(&opts)
		return made, nil
	case *redis.ClusterClient:
		opts := *client.Options()
		if opts.Dialer == nil { // unlike a single client's options, these keep it unset
			opts.Dialer = redis.NewDialer(&redis.Options{DialTimeout: atMost(opts.DialTimeout), TLSConfig: opts.TLSConfig})
		}
		opts.Dialer = failsLater(own.dialer(opts.Dialer))
		opts.OnConnect = identify(opts.OnConnect)
		opts.CredentialsProviderContext = safeCredentials(opts.CredentialsProvider, opts.CredentialsProviderContext)
		// One more, to ask for the slots of the cluster meanwhile.
		opts.PoolSize, opts.MinIdleConns, opts.MaxIdleConns, opts.MaxActiveConns = own.connections+1, 0, 0, 0
		opts.MaxRetries, opts.DialerRetries = -1, 1
		opts.DialTimeout, opts.ReadTimeout = atMost(opts.DialTimeout), atMost(opts.ReadTimeout)
		opts.WriteTimeout = given(opts.WriteTimeout)
		opts.ContextTimeoutEnabled = opts.ContextTimeoutEnabled || own.contexts
		opts.ReadOnly, opts.RouteByLatency, opts.RouteRandomly = false, false, false
		opts.ClusterStateReloadInterval = min(opts.ClusterStateReloadInterval, stateInterval)
		opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		opts.PushNotificationProcessor = nil
		made := redis.NewClusterClient(&opts)
		return derived{client: made, masters: mastersOf(made)}, nil
	}
	return derived{}, fmt.Errorf("stream: no client of its own can be made from a %T", client)
}

// SameServer reports whether two clients of a user are known to send their commands to one server, or
// to one cluster.
func SameServer(a, b redis.UniversalClient) bool {
	if a == b {
		return true
	}
	switch a := a.(type) {
	case *redis.Client:
		b, ok := b.(*redis.Client)
		if !ok {
			return false
		}
		x, y := a.Options(), b.Options()
		return x.Network == y.Network && x.Addr == y.Addr && x.DB == y.DB && x.Addr != behindSentinels
	case *redis.ClusterClient:
		b, ok := b.(*redis.ClusterClient)
		return ok && slices.Equal(a.Options().Addrs, b.Options().Addrs)
	}
	return false
}
