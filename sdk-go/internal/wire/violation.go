package wire

import (
	"errors"
	"fmt"
)

// ErrTooLarge is returned by a writer whose record would be longer than LimitRecord; nothing of it was kept.
var ErrTooLarge = errors.New("a record of more than 65536 bytes")

// Violation is a broken rule of SPEC.md. The host kills the worker for it, the worker exits for it.
type Violation struct {
	Name   string // the same word in every language: "seq", "kind", "record", …
	Rule   string // the rule inside that name, where it has several: "step-order", "magic", …
	Detail string // what stood there
}

func (v *Violation) Error() string {
	switch {
	case v.Rule == "":
		return v.Name + " " + v.Detail
	case v.Detail == "":
		return v.Name + ": " + v.Rule
	}
	return v.Name + ": " + v.Rule + ", " + v.Detail
}

// violate is a violation with a detail, whose name has no rules.
func violate(name, format string, args ...any) error {
	return &Violation{Name: name, Detail: fmt.Sprintf(format, args...)}
}

// recordRule is a malformed record (SPEC.md 4).
func recordRule(rule string) error {
	return &Violation{Name: "record", Rule: rule}
}

// headerRule is a header page that is not as agreed (SPEC.md 2.3, 2.5).
func headerRule(field string) error {
	return &Violation{Name: "header", Rule: field}
}

// windowRule is DATA past the window, a bad WINDOW, or a piece too large (SPEC.md 5.7, 5.8).
func windowRule(rule string) error {
	return &Violation{Name: "window", Rule: rule}
}
