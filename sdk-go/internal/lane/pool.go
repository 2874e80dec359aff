package lane

import (
	"sync"
	"time"
)

// Job is a handler run. run is the lane's run number when it runs on the leader, 0 off it; start is when it starts.
// It returns how long it ran until the verdict of its last handler, if that is known: else 0.
type Job interface {
	Run(run uint64, start time.Duration) (ran time.Duration)
}

// order is what a follower is woken for: to lead a lane, or to run one job.
type order struct {
	lead  *Lane
	n     uint64
	job   Job
	class *Class
	of    *Lane // the job's
}

// maxIdle is how many followers stay parked; more come and go with the load.
const maxIdle = 64

// Pool is the followers of all lanes of a worker: parked goroutines, handed one order each, last parked first.
type Pool struct {
	mu     sync.Mutex
	idle   []chan order
	closed bool
	all    sync.WaitGroup
}

// give hands o to a parked follower, or to a new one.
func (p *Pool) give(o order) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		ch := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		ch <- o // one place, and it is empty while its owner is parked
		return
	}
	p.mu.Unlock()
	p.all.Add(1)
	go p.follow(o)
}

// follow runs o and then what else it is given. A job that ends its goroutine takes nobody else along.
func (p *Pool) follow(o order) {
	defer p.all.Done()
	var ch chan order
	for {
		if o.lead != nil {
			o.lead.lead(o.n)
		} else if o.job != nil {
			start, rung := Now(), o.of.rung()
			o.class.ended(o.of, start, o.job.Run(0, start), rung)
		}
		if ch == nil {
			ch = make(chan order, 1)
		}
		if !p.park(ch) {
			return
		}
		if o = <-ch; o.lead == nil && o.job == nil {
			return
		}
	}
}

func (p *Pool) park(ch chan order) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= maxIdle {
		return false
	}
	p.idle = append(p.idle, ch)
	return true
}

// close sends the parked ones home.
func (p *Pool) close() {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, ch := range idle {
		ch <- order{}
	}
}
