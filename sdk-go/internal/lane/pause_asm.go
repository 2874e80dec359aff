//go:build amd64 || arm64

package lane

// pause tells the CPU that this is a spin loop.
func pause()
