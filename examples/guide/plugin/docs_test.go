package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every block of Go in these pages is a piece of a file below examples/, so it compiles and is tested.
var pages = []string{"../../../docs/*.md", "../../../sdk-go/README.md"}

var block = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

func TestGoInThePagesIsQuoted(t *testing.T) {
	sources, err := filepath.Glob("../../*/plugin/*.go")
	if err != nil || len(sources) == 0 {
		t.Fatal("no sources:", err)
	}
	var code []string
	for _, source := range sources {
		code = append(code, flat(t, source))
	}
	blocks := 0
	for _, pattern := range pages {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatal(pattern, err)
		}
		for _, page := range found {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range block.FindAllStringSubmatch(string(text), -1) {
				blocks++
				if !quoted(code, m[1]) {
					t.Errorf("%s: not in any examples/*/plugin/*.go:\n%s", page, m[1])
				}
			}
		}
	}
	if blocks < 10 {
		t.Errorf("only %d blocks found", blocks)
	}
}

func quoted(code []string, piece string) bool {
	for _, text := range code {
		if strings.Contains(text, trim(piece)) {
			return true
		}
	}
	return false
}

func flat(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return trim(string(text))
}

// trim takes the indentation off every line: a page quotes the inside of a function without its own.
func trim(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return "\n" + strings.Join(lines, "\n") + "\n"
}
