// Command ratelimit is a Nylon plugin that lets each client address have so many requests a second and answers the rest
// with 429 and Retry-After.
package main

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// limits are those of every route: a client that uses two of them has one bucket.
var limits *buckets

// now is the clock; tests set it.
var now = time.Now

func main() {
	register(sdk.NewNylonPlugin())
	sdk.Serve()
}

func register(plugin *sdk.NylonPlugin) {
	plugin.InitializeE(initialize)
	plugin.AddPhaseHandler("ratelimit", ratelimit)
}

func initialize(config map[string]any) error {
	number := func(key string, fallback float64) float64 {
		if value, ok := config[key]; ok {
			fallback, _ = value.(float64) // a text becomes 0, and is refused below
		}
		return fallback
	}
	rate, burst, clients := number("rate", 10), number("burst", 20), number("clients", 10_000)
	switch {
	case !(rate > 0):
		return fmt.Errorf("config.rate must be a number over 0: requests a second")
	case !(burst >= 1):
		return fmt.Errorf("config.burst must be 1 or more: requests at once")
	case !(clients >= 1 && clients <= 10_000_000):
		return fmt.Errorf("config.clients must be from 1 to 10000000: addresses remembered")
	}
	limits = newBuckets(rate, burst, int(clients))
	return nil
}

func ratelimit(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		wait, ok := limits.take(client(p.Request().ClientIP()), now())
		if ok {
			p.Next()
			return
		}
		seconds := int(math.Ceil(wait.Seconds()))
		p.Response().SetStatus(sdk.StatusTooManyRequests)
		p.Response().SetHeader("retry-after", strconv.Itoa(max(seconds, 1)))
		p.Response().BodyJSON(map[string]any{"error": "too many requests", "retry_after": max(seconds, 1)})
		p.End()
	})
}

// client is whom an address belongs to: itself, or the /64 of an IPv6 address, all of which one customer has.
func client(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if ip = ip.Unmap(); ip.Is4() {
		return ip.String()
	}
	prefix, _ := ip.WithZone("").Prefix(64)
	return prefix.String()
}
