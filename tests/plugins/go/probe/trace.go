package main

import (
	"fmt"
	"os"
)

// settings is the plugin's config.
var settings struct {
	Name  string `json:"name"`
	Trace string `json:"trace"`
	Fail  string `json:"fail"`
}

func start(config struct {
	Name  string `json:"name"`
	Trace string `json:"trace"`
	Fail  string `json:"fail"`
}) {
	settings = config
	if settings.Fail == "exit" {
		os.Exit(3)
	}
	trace("initialize %s", settings.Name)
}

// trace appends one line; lines of several processes do not mix.
func trace(format string, args ...any) {
	file, err := os.OpenFile(settings.Trace, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Println("probe: trace:", err)
		return
	}
	defer file.Close()
	fmt.Fprintf(file, format+"\n", args...)
}

// text is a string of the payload, "" if it is not there.
func text(payload map[string]any, key string) string {
	value, _ := payload[key].(string)
	return value
}

// number is a number of the payload, 0 if it is not there.
func number(payload map[string]any, key string) int {
	value, _ := payload[key].(float64)
	return int(value)
}
