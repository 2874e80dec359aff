// Command jwt is a Nylon plugin that asks for a JSON web token (HS256) and hands its claims on as request headers.
package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// tokens checks tokens as nylon.yaml says; it is made once and only read.
var tokens struct {
	secret []byte
	parser *jwt.Parser
}

func main() {
	register(sdk.NewNylonPlugin())
	sdk.Serve()
}

func register(plugin *sdk.NylonPlugin) {
	plugin.InitializeE(initialize)
	plugin.AddPhaseHandler("jwt", check)
}

func initialize(config map[string]any) error {
	text := func(key string) string {
		value, _ := config[key].(string)
		return value
	}
	if len(text("secret")) < 32 {
		return errors.New("config.secret must be a text of 32 bytes or more: HS256 is as strong as its key")
	}
	if text("audience") == "" {
		return errors.New("config.audience is missing: a token for another service must not work here")
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{"HS256"}), // "none" and tokens signed in another way are refused
		jwt.WithExpirationRequired(),
		jwt.WithAudience(text("audience")),
	}
	if issuer := text("issuer"); issuer != "" {
		options = append(options, jwt.WithIssuer(issuer))
	}
	if leeway := text("leeway"); leeway != "" {
		d, err := time.ParseDuration(leeway)
		if err != nil || d < 0 {
			return fmt.Errorf("config.leeway %q is no time span like 5s", leeway)
		}
		options = append(options, jwt.WithLeeway(d))
	}
	tokens.secret, tokens.parser = []byte(text("secret")), jwt.NewParser(options...)
	return nil
}

func check(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		token, found := bearer(p.Request().Header("authorization"))
		if !found {
			refuse(p, `Bearer`, "send a token: `Authorization: Bearer …`")
			return
		}
		claims := jwt.MapClaims{}
		if _, err := tokens.parser.ParseWithClaims(token, claims, key); err != nil {
			refuse(p, `Bearer error="invalid_token"`, err.Error())
			return
		}
		headers, _ := p.GetPayload()["claims"].(map[string]any)
		for claim, header := range headers {
			if name, _ := header.(string); name != "" && !passOn(p, name, claims[claim]) {
				refuse(p, `Bearer error="invalid_token"`, "the claim "+claim+" is no plain text")
				return
			}
		}
		p.Next()
	})
}

// bearer is the token of an Authorization header; the scheme's name comes in any case.
func bearer(authorization string) (token string, found bool) {
	scheme, token, _ := strings.Cut(authorization, " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

func key(*jwt.Token) (any, error) { return tokens.secret, nil }

// passOn sets a header to what a claim says. Without the claim the header is removed: what a client sends under this
// name must not reach the upstream. It says whether the claim is fit for a header.
func passOn(p *sdk.PhaseRequestFilter, header string, claim any) bool {
	if claim == nil {
		p.RemoveRequestHeader(header)
		return true
	}
	value, ok := claim.(string)
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	if !ok || strings.ContainsFunc(value, control) {
		return false
	}
	p.SetRequestHeader(header, value)
	return true
}

func refuse(p *sdk.PhaseRequestFilter, challenge, why string) {
	p.Response().SetStatus(sdk.StatusUnauthorized)
	p.Response().SetHeader("www-authenticate", challenge)
	p.Response().BodyJSON(map[string]any{"error": why})
	p.End()
}
