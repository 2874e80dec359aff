//go:build !linux

package sdk

func serve(options) int { return usage("and the gateway runs on Linux only") }
