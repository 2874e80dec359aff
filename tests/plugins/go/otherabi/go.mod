module github.com/nylon-rs/nylon/sdk-go/tests/otherabi

go 1.26.0

require (
	github.com/google/flatbuffers v25.12.19+incompatible
	github.com/nylon-rs/nylon/sdk-go v0.0.0
	golang.org/x/sys v0.49.0
)

replace github.com/nylon-rs/nylon/sdk-go => ../../../../sdk-go
