// Package testhost is a host small enough to stand beside a plugin in one test: the host's end of the lanes, its slab
// of invocations, windows, staged bodies, deadlines and the rescue bell. It speaks the same frames as the real host.
//
// In: steps to run, bodies to hand out.  Out: final frames, staged bodies, streamed pieces.
// Never: the order of phases, which is nylontest's business.
package testhost
