//go:build !race

package lane

// publish shows the host a figure of one writer, in order with nothing: an atomic store would be a full barrier, once a
// frame. A double word that is aligned is written whole.
func publish(stat *uint64, v uint64) { *stat = v }
