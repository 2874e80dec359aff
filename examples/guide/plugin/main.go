// Command guide is the plugin of docs/plugin-guide.md: what stands there stands here, and is compiled and tested.
package main

import (
	"fmt"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

func main() {
	register(sdk.NewNylonPlugin())
	sdk.Serve()
}

func register(plugin *sdk.NylonPlugin) {
	plugin.InitializeE(initialize)
	plugin.Shutdown(func() { sdk.Logger().Info("bye") })
	plugin.AddPhaseHandler("audit", audit)
	plugin.AddPhaseHandler("roles", rolesEntry)
	plugin.AddPhaseHandler("signed", signed)
	plugin.AddPhaseHandler("count", count)
	plugin.AddPhaseHandler("crlf", crlf)
	plugin.AddPhaseHandler("clock", clock)
}

// roles are the users' roles, from `config`.
var roles map[string]string

func initialize(config map[string]any) error {
	users, ok := config["users"].(map[string]any)
	if !ok {
		return fmt.Errorf("config.users must be a map, not %T", config["users"])
	}
	roles = make(map[string]string, len(users))
	for user, role := range users {
		roles[user] = fmt.Sprint(role)
	}
	return nil
}
