package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// orphanTo names the file to which a process without parents writes what the gateway said.
const orphanTo = "PROBE_ORPHAN"

// admin has entries that ask the gateway's admin socket, as no worker may.
func admin(plugin *sdk.NylonPlugin) {
	// The worker itself.
	plugin.AddPhaseHandler("admin", func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
			p.Response().BodyText(askAdmin(p.Request().Header("x-socket")))
			p.End()
		})
	})
	// A process that it leaves behind, in a session of its own.
	plugin.AddPhaseHandler("admin-orphan", func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
			self, err := os.Executable()
			if err == nil {
				between := exec.Command("/bin/sh", "-c", `"$0" &`, self)
				to := orphanTo + "=" + p.Request().Header("x-file")
				between.Env = append(os.Environ(), to, "PROBE_SOCKET="+p.Request().Header("x-socket"))
				between.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
				err = between.Run()
			}
			p.Response().BodyText(said(err))
			p.End()
		})
	})
}

// orphan asks once its parent has gone.
func orphan(file string) {
	for range 1000 {
		if os.Getppid() == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	answer := askAdmin(os.Getenv("PROBE_SOCKET"))
	_ = os.WriteFile(file+".tmp", []byte(answer), 0o600)
	_ = os.Rename(file+".tmp", file)
}

func askAdmin(socket string) string {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 5 * time.Second}
	response, err := client.Post("http://localhost/v1/plugins/probe/pause", "application/json", strings.NewReader("{}"))
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	return response.Status + " " + string(body)
}

func said(err error) string {
	if err != nil {
		return err.Error()
	}
	return "done"
}
