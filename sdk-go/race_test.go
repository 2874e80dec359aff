//go:build race

package sdk_test

// raceEnabled: the race detector makes allocations of its own.
const raceEnabled = true
