// Command emptyworker is a Go program that says it is ready and does nothing else: the limit of the bench coldstart.
package main

import "os"

func main() {
	_, _ = os.Stdout.WriteString("ready\n")
}
