package shm

const (
	chunkSize = 64 << 10
	chunkMax  = 16 << 10 // longer copies get an allocation of their own
)

// Chunks carves private copies of payloads out of shared 64 KiB allocations. Each byte is handed out once, so strings
// may view a copy for as long as they like; the garbage collector frees a chunk with its last user.
type Chunks struct {
	free []byte
}

// Take returns n zeroed bytes that nobody else has.
func (c *Chunks) Take(n int) []byte {
	if n > chunkMax {
		return make([]byte, n)
	}
	if n > len(c.free) {
		c.free = make([]byte, chunkSize)
	}
	b := c.free[:n:n]
	c.free = c.free[(n+7)&^7:]
	return b
}
