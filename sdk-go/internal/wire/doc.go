// Package wire is what a Nylon host and a worker exchange, and nothing else: no I/O, no clock, no shared memory.
//
// wire_gen.go holds the numbers of protocol/wire.toml, fb and fbheaders the output of flatc, SPEC.md the
// explanation, and protocol/vectors judges it. A reader here takes a private copy of what a peer wrote and either
// gives checked views of it or says which rule was broken, as a *[Violation]. Writers append to a slice and allocate
// nothing else.
//
// To renew fb and fbheaders after a change of protocol/schema, with flatc 25.12.19: flatc --go on each schema, move
// the files here, set the package lines to fb and fbheaders, gofmt -w.
package wire
