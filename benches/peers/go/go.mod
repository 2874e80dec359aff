module github.com/nylon-rs/nylon/benches/peers/go

go 1.26.0
