package main

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

const secret = "an-example-of-a-secret-of-32-bytes"

func host(t *testing.T) *nylontest.Host {
	t.Helper()
	return nylontest.New(t, register, nylontest.Config(map[string]any{
		"secret": secret, "audience": "nylon-example", "issuer": "https://login.example.com", "leeway": "5s",
	}))
}

// good are the claims of a token that works, changed as a test says; a nil value takes the claim out.
func good(changes jwt.MapClaims) jwt.MapClaims {
	claims := jwt.MapClaims{
		"sub": "alice", "scope": "read write", "aud": "nylon-example", "iss": "https://login.example.com",
		"exp": time.Now().Add(time.Hour).Unix(),
	}
	for name, value := range changes {
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
	}
	return claims
}

func sign(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func hs256(t *testing.T, changes jwt.MapClaims) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, []byte(secret), good(changes))
}

func TestTokens(t *testing.T) {
	h := host(t)
	valid := hs256(t, nil)
	parts := strings.Split(valid, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	for _, c := range []struct {
		name, authorization string
		why                 string // part of the body; "" = it passes
	}{
		{"valid", "Bearer " + valid, ""},
		{"valid, the scheme in capitals", "BEARER  " + valid, ""},
		{"valid, one of several audiences", "Bearer " + hs256(t, jwt.MapClaims{"aud": []string{"a", "nylon-example"}}), ""},
		{"expired within the leeway", "Bearer " + hs256(t, jwt.MapClaims{"exp": time.Now().Add(-time.Second).Unix()}), ""},
		{"nothing", "", "send a token"},
		{"basic", "Basic YTpi", "send a token"},
		{"an empty token", "Bearer ", "send a token"},
		{"no token at all", "Bearer x", "malformed"},
		{"alg none", "Bearer " + none + "." + parts[1] + ".", "signing method none is invalid"},
		{"alg none, the signature kept", "Bearer " + none + "." + parts[1] + "." + parts[2], "signing method none is invalid"},
		{"alg none by the library", "Bearer " + sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good(nil)), "signing method none is invalid"},
		{"HS512", "Bearer " + sign(t, jwt.SigningMethodHS512, []byte(secret), good(nil)), "signing method HS512 is invalid"},
		{"another key", "Bearer " + sign(t, jwt.SigningMethodHS256, []byte(secret+"!"), good(nil)), "signature is invalid"},
		{"changed claims", "Bearer " + parts[0] + "." + strings.Split(hs256(t, jwt.MapClaims{"sub": "root"}), ".")[1] + "." + parts[2], "signature is invalid"},
		{"expired", "Bearer " + hs256(t, jwt.MapClaims{"exp": time.Now().Add(-time.Minute).Unix()}), "expired"},
		{"never expires", "Bearer " + hs256(t, jwt.MapClaims{"exp": nil}), "exp claim is required"},
		{"not yet valid", "Bearer " + hs256(t, jwt.MapClaims{"nbf": time.Now().Add(time.Hour).Unix()}), "not valid yet"},
		{"another audience", "Bearer " + hs256(t, jwt.MapClaims{"aud": "another"}), "invalid audience"},
		{"no audience", "Bearer " + hs256(t, jwt.MapClaims{"aud": nil}), "aud claim is required"},
		{"another issuer", "Bearer " + hs256(t, jwt.MapClaims{"iss": "https://evil.example"}), "invalid issuer"},
		{"a subject with a line break", "Bearer " + hs256(t, jwt.MapClaims{"sub": "alice\r\nx-scope: all"}), "the claim sub"},
		{"a subject that is a list", "Bearer " + hs256(t, jwt.MapClaims{"scope": []string{"a"}}), "the claim scope"},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := h.Request("jwt", nylontest.Request{
				Headers: http.Header{"Authorization": {c.authorization}},
				Payload: map[string]any{"claims": map[string]any{"sub": "x-user", "scope": "x-scope"}},
			})
			switch {
			case c.why == "" && (res.Status != 200 || res.Upstream == nil):
				t.Errorf("refused: %d %s", res.Status, res.Body)
			case c.why != "" && (res.Status != 401 || res.Upstream != nil || !strings.Contains(string(res.Body), c.why)):
				t.Errorf("%d %s, upstream asked: %v", res.Status, res.Body, res.Upstream != nil)
			case c.why != "" && !strings.HasPrefix(res.Headers.Get("www-authenticate"), "Bearer"):
				t.Errorf("www-authenticate %q", res.Headers.Get("www-authenticate"))
			}
		})
	}
}

func TestClaimsBecomeHeaders(t *testing.T) {
	h := host(t)
	for _, c := range []struct {
		name        string
		changes     jwt.MapClaims
		payload     any
		user, scope string // as the upstream sees them
	}{
		{"both", nil, map[string]any{"sub": "X-User", "scope": "x-scope"}, "alice", "read write"},
		{"not in UTF-8's first half", jwt.MapClaims{"sub": "Zoë"}, map[string]any{"sub": "x-user"}, "Zoë", "forged"},
		{"a claim the token lacks", jwt.MapClaims{"scope": nil}, map[string]any{"sub": "x-user", "scope": "x-scope"}, "alice", ""},
		{"none asked for", nil, nil, "forged", "forged"},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := h.Request("jwt", nylontest.Request{
				Headers: http.Header{
					"Authorization": {"Bearer " + hs256(t, c.changes)}, "X-User": {"forged"}, "X-Scope": {"forged"},
				},
				Payload: map[string]any{"claims": c.payload},
			})
			if res.Upstream == nil {
				t.Fatalf("%d %s", res.Status, res.Body)
			}
			user, scope := res.Upstream.Headers.Values("x-user"), res.Upstream.Headers.Values("x-scope")
			if strings.Join(user, "|") != c.user || strings.Join(scope, "|") != c.scope {
				t.Errorf("the upstream saw %q and %q", user, scope)
			}
		})
	}
}

func TestRefusesToStart(t *testing.T) {
	for want, config := range map[string]map[string]any{
		"config.secret":   {"secret": "short", "audience": "a"},
		"config.audience": {"secret": secret},
		"config.leeway":   {"secret": secret, "audience": "a", "leeway": "-5s"},
	} {
		if _, err := nylontest.Start(t, register, nylontest.Config(config)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, not %q", config, err, want)
		}
	}
}
