// Package session is one request in one plugin entry: its record, its handlers' runs, and what they want changed.
//
// In: frames from a lane, and the calls of the public API.
// Out: one final frame per invocation, calls to the host, pieces of bodies.
// Never: ring memory, sockets, or timers.
package session
