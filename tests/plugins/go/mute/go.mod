module github.com/nylon-rs/nylon/tests/plugins/mute

go 1.26.0
