//go:build !linux

package sdk

func underGateway() bool { return false }

func serve(options) int { return usage("and the gateway runs on Linux only") }
