module github.com/nylon-rs/nylon/sdk-go

go 1.26.0

require (
	github.com/google/flatbuffers v25.12.19+incompatible
	golang.org/x/sys v0.49.0
)
