module github.com/nylon-rs/nylon/examples/ws-chat/plugin

go 1.26.0

require github.com/nylon-rs/nylon/sdk-go v0.0.0

require (
	github.com/google/flatbuffers v25.12.19+incompatible // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/nylon-rs/nylon/sdk-go => ../../../sdk-go
