package conn

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// The options that derived clients have of their own, and a check of each. All others are
// as in the user's options, be they of this version of go-redis or of a later one.
var ownOfServer = map[string]func(v any) bool{
	"Dialer":                     isSet,
	"OnConnect":                  isSet,
	"CredentialsProviderContext": isSet, // see below
	"PoolSize":                   is(3),
	"MaxConcurrentDials":         is(3), // no more than there are connections
	"MinIdleConns":               is(0),
	"MaxIdleConns":               is(0),
	"MaxActiveConns":             is(0),
	"PipelinePoolSize":           func(any) bool { return true }, // no pipelines
	"MaxRetries":                 is(0),
	"DialerRetries":              is(1),
	"DialTimeout":                is(time.Second),
	"ReadTimeout":                is(time.Second),
	"ContextTimeoutEnabled":      is(true),
	"MaintNotificationsConfig":   func(v any) bool { return v.(*maintnotifications.Config).Mode == maintnotifications.ModeDisabled },
	"PushNotificationProcessor":  func(any) bool { return true }, // see TestReaderHasItsOwnPushes
	"ClientSideCacheConfig":      func(v any) bool { return v.(*redis.ClientSideCacheConfig) == nil },
	"ClientSideCache":            func(v any) bool { return v == nil },
	"ClientSideCacheStrategy":    func(any) bool { return true }, // without a cache
}

var ownOfCluster = map[string]func(v any) bool{
	"PoolSize":                   is(4), // one to ask for the cluster's state
	"MaxConcurrentDials":         is(7),
	"MaxRetries":                 is(-1),
	"ReadOnly":                   is(false),
	"RouteByLatency":             is(false),
	"RouteRandomly":              is(false),
	"ClusterStateReloadInterval": is(time.Second),
}

func is(want any) func(any) bool { return func(v any) bool { return v == want } }

func isSet(v any) bool { return !reflect.ValueOf(v).IsNil() }

// A client of the engine's own keeps every option of the user's but those: a database, a
// login, a user's OnConnect that is forgotten would be another server, or none.
func TestDerivedClientsKeepTheOptions(t *testing.T) {
	t.Parallel()
	connected := errors.New("the user's OnConnect")
	onConnect := func(context.Context, *redis.Conn) error { return connected }
	var options redis.Options
	fill(t, reflect.ValueOf(&options).Elem())
	options.Addr, options.Network = "127.0.0.1:1", "tcp"
	options.MaintNotificationsConfig = nil
	options.ClientSideCacheConfig, options.ClientSideCache = nil, nil
	options.PushNotificationProcessor, options.StreamingCredentialsProvider = nil, credentials{}
	options.OnConnect, options.Limiter = onConnect, limiter{}
	login := func(context.Context) (string, string, error) { return "the user's", "login", nil }
	options.CredentialsProviderContext = login
	single := redis.NewClient(&options)
	t.Cleanup(func() { _ = single.Close() })

	var many redis.ClusterOptions
	fill(t, reflect.ValueOf(&many).Elem())
	many.Addrs = []string{"127.0.0.1:1"}
	many.MaintNotificationsConfig, many.PushNotificationProcessor, many.StreamingCredentialsProvider = nil, nil, credentials{}
	many.OnConnect, many.CredentialsProviderContext = onConnect, login
	cluster := redis.NewClusterClient(&many)
	t.Cleanup(func() { _ = cluster.Close() })

	for _, client := range []redis.UniversalClient{single, cluster} {
		made, err := derive(client, derivation{connections: 3, contexts: true, dialer: func(dial dialFunc) dialFunc { return dial }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = made.client.Close() })
		own := make(map[string]func(any) bool)
		for name, check := range ownOfServer {
			own[name] = check
		}
		var users, derived reflect.Value
		switch client := client.(type) {
		case *redis.Client:
			users, derived = reflect.ValueOf(*client.Options()), reflect.ValueOf(*made.client.(*redis.Client).Options())
		case *redis.ClusterClient:
			users, derived = reflect.ValueOf(*client.Options()), reflect.ValueOf(*made.client.(*redis.ClusterClient).Options())
			for name, check := range ownOfCluster {
				own[name] = check
			}
		}
		for i := range users.NumField() {
			field := users.Type().Field(i)
			if !field.IsExported() {
				continue
			}
			was, now := users.Field(i), derived.Field(i)
			if check := own[field.Name]; check != nil {
				if !check(now.Interface()) {
					t.Errorf("%T: %s is %v", client, field.Name, now.Interface())
				}
				continue
			}
			if was.IsZero() && field.Name != "NewClient" {
				t.Errorf("%T: %s is not tried: give it a value, and see that a derived client keeps it", client, field.Name)
			}
			if !same(was, now) {
				t.Errorf("%T: %s was %v, and is %v", client, field.Name, was.Interface(), now.Interface())
			}
		}
		if err := derived.FieldByName("OnConnect").Interface().(onConnectOf)(t.Context(), nil); !errors.Is(err, connected) {
			t.Errorf("%T: OnConnect returns %v", client, err)
		}
		user, _, err := derived.FieldByName("CredentialsProviderContext").Interface().(credentialsProvider)(t.Context())
		if user != "the user's" || err != nil {
			t.Errorf("%T: the login is of %q, %v", client, user, err)
		}
	}
}

type onConnectOf = func(context.Context, *redis.Conn) error

// same reports whether two values are equal, functions by where they are.
func same(a, b reflect.Value) bool {
	if a.Kind() == reflect.Func {
		return a.Pointer() == b.Pointer()
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// fill gives each option a value that is not its default.
func fill(t *testing.T, options reflect.Value) {
	t.Helper()
	for i := range options.NumField() {
		field := options.Field(i)
		if !field.CanSet() {
			continue
		}
		switch field.Interface().(type) {
		case string:
			field.SetString("text")
		case bool:
			field.SetBool(true)
		case int:
			field.SetInt(7)
		case time.Duration:
			field.SetInt(int64(7 * time.Second))
		case []string:
		case *tls.Config:
			field.Set(reflect.ValueOf(&tls.Config{MinVersion: tls.VersionTLS13}))
		default:
			switch field.Kind() {
			case reflect.Func:
				field.Set(reflect.MakeFunc(field.Type(), func([]reflect.Value) []reflect.Value { panic("not called here") }))
			case reflect.Pointer:
				field.Set(reflect.New(field.Type().Elem()))
			case reflect.Int, reflect.Uint8:
				field.Set(reflect.ValueOf(1).Convert(field.Type()))
			}
		}
	}
	options.FieldByName("Protocol").SetInt(2)
}

type limiter struct{}

func (limiter) Allow() error       { return nil }
func (limiter) ReportResult(error) {}

type credentials struct{}

func (credentials) Subscribe(auth.CredentialsListener) (auth.Credentials, auth.UnsubscribeFunc, error) {
	return nil, nil, net.ErrClosed
}
