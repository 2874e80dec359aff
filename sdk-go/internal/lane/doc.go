// Package lane is one pair of rings with two doorbells, and who works on it.
//
// In: frames to send, and a Sink that turns taken frames into jobs.
// Out: frames in order, jobs run inline by the lane's leader or off it.
// Never: what a frame means for a request.
//
// Producer and Consumer are the two ends of one ring; both exist on both sides, so a test host is made of the same
// parts. Lane adds the worker's side: one leader goroutine polls, runs short handlers itself and loses the lane to
// another goroutine when a handler blocks (leader and followers).
package lane
