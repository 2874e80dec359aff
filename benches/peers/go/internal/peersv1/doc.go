// Package peersv1 is generated from proto/peers.proto; README.md says how.
package peersv1
