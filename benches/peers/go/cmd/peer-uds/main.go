// Command peer-uds PATH echoes messages of one Unix stream connection: a length of 8 bytes, then the payload. All whole
// messages of a read go back in one write.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/nylon-rs/nylon/benches/peers/go/internal/payload"
)

const prefix = 8

func main() {
	if err := serve(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "peer-uds:", err)
		os.Exit(1)
	}
}

func serve(path string) error {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	buffer := make([]byte, 2*(prefix+payload.Max))
	filled := 0
	for {
		n, err := conn.Read(buffer[filled:])
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		filled += n
		end, err := whole(buffer[:filled])
		if err != nil {
			return err
		}
		if end == 0 {
			continue
		}
		if _, err := conn.Write(buffer[:end]); err != nil {
			return err
		}
		filled = copy(buffer, buffer[end:filled])
	}
}

// whole is how many bytes are whole messages.
func whole(b []byte) (int, error) {
	end := 0
	for len(b)-end >= prefix {
		size := binary.LittleEndian.Uint64(b[end:])
		if size > payload.Max {
			return 0, fmt.Errorf("a message of %d bytes", size)
		}
		next := end + prefix + int(size)
		if next > len(b) {
			break
		}
		if _, err := payload.Check(b[end+prefix : next]); err != nil {
			return 0, err
		}
		end = next
	}
	return end, nil
}
