package server

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Target is a server, a cluster, or the servers that sentinels watch.
type Target struct {
	Options redis.UniversalOptions
}

// errURL is the beginning of all errors of an address. None has the address, which may have a
// password in it.
var errURL = errors.New("the address of the server cannot be used")

func badURL(format string, args ...any) error {
	return fmt.Errorf("%w: "+format+"; write it as redis://user:password@host:6379/0", append([]any{errURL}, args...)...)
}

// Parse reads the address of servers:
//
//	redis://user:password@host:6379/0            a server; rediss:// is TLS
//	redis://host1:6379,host2:6379                a cluster, as is one host with ?cluster=true
//	redis://host1:26379,host2:26379/0?master=m   the server m that these sentinels watch
//
// The sentinels' own user and password are ?sentinel_username= and ?sentinel_password=; all
// other parameters are those of go-redis, such as dial_timeout. No error has a part of the
// address in it.
func Parse(text string) (*Target, error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found || scheme != "redis" && scheme != "rediss" {
		return nil, badURL("it does not begin with redis:// or rediss://")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	login := strings.LastIndexByte(rest[:end], '@') + 1
	hosts := strings.Split(rest[login:end], ",")
	if slices.Contains(hosts, "") {
		return nil, badURL("a host is missing")
	}
	// The hosts are parsed one by one: url.Parse takes one alone.
	var addrs []string
	var first *redis.Options
	var query url.Values
	for _, host := range hosts {
		parsed, err := url.Parse(scheme + "://" + rest[:login] + host + rest[end:])
		if err != nil {
			return nil, badURL("the host, the password or a parameter is not written as in a URL; write a special character as %%40")
		}
		query = parsed.Query()
		own := parsed.Query()
		for _, name := range ownParameters {
			own.Del(name)
		}
		parsed.RawQuery = own.Encode()
		options, err := redis.ParseURL(parsed.String())
		if err != nil {
			return nil, badURL("%s", strings.TrimPrefix(err.Error(), "redis: "))
		}
		addrs = append(addrs, options.Addr)
		first = cmp.Or(first, options)
	}
	return targetOf(first, addrs, query)
}

// ownParameters are the parameters that go-redis does not have.
var ownParameters = []string{"master", "cluster", "sentinel_username", "sentinel_password"}

func targetOf(first *redis.Options, addrs []string, query url.Values) (*Target, error) {
	master := query.Get("master")
	cluster := query.Get("cluster") == "true" || len(addrs) > 1 && master == ""
	switch {
	case query.Has("master") && strings.TrimSpace(master) == "":
		return nil, badURL("the name behind ?master= is missing")
	case master != "" && query.Has("cluster"):
		return nil, badURL("it has ?master= and ?cluster=, which are two different things")
	case cluster && first.DB != 0:
		return nil, badURL("a cluster has the database 0 alone")
	}
	if first.TLSConfig != nil {
		first.TLSConfig = &tls.Config{ServerName: first.TLSConfig.ServerName, MinVersion: tls.VersionTLS12}
		if len(addrs) > 1 || cluster {
			first.TLSConfig.ServerName = "" // each has its own name
		}
	}
	return &Target{redis.UniversalOptions{
		Addrs: addrs, MasterName: master, IsClusterMode: cluster,
		SentinelUsername: query.Get("sentinel_username"), SentinelPassword: query.Get("sentinel_password"),
		DB: first.DB, Username: first.Username, Password: first.Password, TLSConfig: first.TLSConfig, Protocol: first.Protocol,
		DialTimeout: first.DialTimeout, ReadTimeout: first.ReadTimeout, WriteTimeout: first.WriteTimeout, PoolSize: first.PoolSize,
		MaxRetries: first.MaxRetries, DialerRetries: 1, // a person waits, and sees the error soon
		ContextTimeoutEnabled: true, DisableIdentity: true, // which takes a right
	}}, nil
}

// Client returns a client of the target, which connects when it is used.
func (t *Target) Client(hooks ...redis.Hook) redis.UniversalClient {
	client := redis.NewUniversalClient(&t.Options)
	for _, hook := range hooks {
		client.AddHook(hook)
	}
	return client
}
