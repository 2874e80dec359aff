package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

// host runs the plugin with a clock that stands still until it is moved.
func host(t *testing.T, config map[string]any) (h *nylontest.Host, pass func(time.Duration)) {
	t.Helper()
	var mu sync.Mutex
	clock := time.Unix(1_700_000_000, 0)
	now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return clock
	}
	t.Cleanup(func() { now = time.Now })
	return nylontest.New(t, register, nylontest.Config(config)), func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		clock = clock.Add(d)
	}
}

func TestBurstThenRate(t *testing.T) {
	h, pass := host(t, map[string]any{"rate": 0.5, "burst": 3})
	for _, c := range []struct {
		after  time.Duration
		from   string
		status int
		retry  string
	}{
		{0, "192.0.2.1", 200, ""},
		{0, "192.0.2.1", 200, ""},
		{0, "192.0.2.1", 200, ""},
		{0, "192.0.2.1", 429, "2"},                       // a token every two seconds
		{0, "192.0.2.2", 200, ""},                        // another client
		{1500 * time.Millisecond, "192.0.2.1", 429, "1"}, // rounded up
		{500 * time.Millisecond, "192.0.2.1", 200, ""},
		{0, "192.0.2.1", 429, "2"},
		{time.Hour, "192.0.2.1", 200, ""}, // never more than the burst
		{0, "192.0.2.1", 200, ""},
		{0, "192.0.2.1", 200, ""},
		{0, "192.0.2.1", 429, "2"},
		{-time.Hour, "192.0.2.1", 429, "2"}, // the clock was set back
	} {
		pass(c.after)
		res := h.Request("ratelimit", nylontest.Request{ClientIP: c.from})
		if res.Status != c.status || res.Headers.Get("retry-after") != c.retry || (res.Upstream != nil) != (c.status == 200) {
			t.Errorf("%v later, from %s: %d, retry after %q, not %d, %q",
				c.after, c.from, res.Status, res.Headers.Get("retry-after"), c.status, c.retry)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1%eth0", "fe80::2", true},
	} {
		if (client(c.a) == client(c.b)) != c.same {
			t.Errorf("%s is %s, %s is %s", c.a, client(c.a), c.b, client(c.b))
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	h, _ := host(t, map[string]any{"rate": 1, "burst": 1, "clients": 100})
	ask := func(i int) int {
		return h.Request("ratelimit", nylontest.Request{ClientIP: fmt.Sprintf("10.0.%d.%d", i/256, i%256)}).Status
	}
	for i := range 1000 {
		if got := ask(i); got != 200 {
			t.Fatalf("client %d: %d", i, got)
		}
	}
	if n, m := limits.used.Len(), len(limits.byName); n != 100 || m != 100 {
		t.Errorf("%d buckets, %d names", n, m)
	}
	// One that comes back all the time is not forgotten, whoever else comes.
	ask(1)
	for i := range 500 {
		ask(2000 + i)
		if got := ask(1); got != 429 {
			t.Fatalf("after %d others: %d", i+1, got)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	h, _ := host(t, map[string]any{"rate": 1, "burst": 25})
	var wg sync.WaitGroup
	statuses := make([]int, 100)
	for i := range statuses {
		wg.Go(func() { statuses[i] = h.Request("ratelimit", nylontest.Request{}).Status })
	}
	wg.Wait()
	passed := 0
	for _, status := range statuses {
		if status == 200 {
			passed++
		}
	}
	if passed != 25 {
		t.Errorf("%d passed", passed)
	}
}

func TestRefusesToStart(t *testing.T) {
	for key, value := range map[string]any{"rate": 0, "burst": 0.5, "clients": "many"} {
		_, err := nylontest.Start(t, register, nylontest.Config(map[string]any{key: value}))
		if err == nil || !strings.Contains(err.Error(), "config."+key) {
			t.Errorf("%s: %v: %v", key, value, err)
		}
	}
}
