package main

import (
	"container/list"
	"math"
	"sync"
	"time"
)

// buckets are token buckets by client, at most max of them: the one used longest ago makes room for a new one.
type buckets struct {
	rate  float64 // tokens a second, > 0
	burst float64 // tokens in a full bucket, >= 1
	max   int     // buckets, >= 1

	mu     sync.Mutex
	byName map[string]*list.Element
	used   list.List // of *bucket, the last used first
}

type bucket struct {
	client string
	tokens float64 // 0 ..= burst, at the time `at`
	at     time.Time
}

func newBuckets(rate, burst float64, limit int) *buckets {
	return &buckets{rate: rate, burst: burst, max: limit, byName: make(map[string]*list.Element)}
}

// take takes a token out of the client's bucket. If there is none, it says how long until there is one.
func (b *buckets) take(client string, now time.Time) (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	of := b.of(client, now)
	if passed := now.Sub(of.at).Seconds(); passed > 0 { // the clock may have been set back
		of.tokens = math.Min(b.burst, of.tokens+passed*b.rate)
	}
	of.at = now
	if of.tokens < 1 {
		return time.Duration((1 - of.tokens) / b.rate * float64(time.Second)), false
	}
	of.tokens--
	return 0, true
}

// of finds or makes the client's bucket and marks it as used. The caller holds mu.
func (b *buckets) of(client string, now time.Time) *bucket {
	if e, ok := b.byName[client]; ok {
		b.used.MoveToFront(e)
		return e.Value.(*bucket)
	}
	if b.used.Len() >= b.max {
		oldest := b.used.Remove(b.used.Back()).(*bucket)
		delete(b.byName, oldest.client)
	}
	fresh := &bucket{client: client, tokens: b.burst, at: now}
	b.byName[client] = b.used.PushFront(fresh)
	return fresh
}
