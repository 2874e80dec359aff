package sdk

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
)

// NylonPlugin is what a program registers: entries, and hooks for start and stop.
type NylonPlugin struct {
	mu        sync.Mutex
	entries   []entry
	starts    []func(map[string]any) error
	shutdowns []func()
}

// entry has a factory or static handlers.
type entry struct {
	name    string
	factory func(*PhaseHandler)
	static  *Handlers
}

// HttpPluginFunc is the type of a handler that takes the bare context.
type HttpPluginFunc func(*NylonHttpPluginCtx)

var thePlugin = sync.OnceValue(func() *NylonPlugin { return &NylonPlugin{} })

// NewNylonPlugin returns the plugin of this process; every call returns the same one.
func NewNylonPlugin() *NylonPlugin { return thePlugin() }

// Initialize registers a function that receives the plugin's `config` once, before the first request.
func (p *NylonPlugin) Initialize(start func(config map[string]interface{})) {
	p.InitializeE(func(config map[string]any) error { start(config); return nil })
}

// InitializeE is Initialize for a function that may fail: the worker then refuses to start with the error's text.
func (p *NylonPlugin) InitializeE(start func(config map[string]any) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starts = append(p.starts, start)
}

// Shutdown registers a function that runs when the gateway stops the plugin.
func (p *NylonPlugin) Shutdown(stop func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shutdowns = append(p.shutdowns, stop)
}

// AddPhaseHandler registers an entry. The function runs once per request that reaches the entry; it registers the
// handlers of that request. A name registered twice is the last one's.
func (p *NylonPlugin) AddPhaseHandler(name string, factory func(phase *PhaseHandler)) {
	p.add(entry{name: name, factory: factory})
}

func (p *NylonPlugin) add(e entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.entries {
		if p.entries[i].name == e.name {
			p.entries[i] = e
			return
		}
	}
	p.entries = append(p.entries, e)
}

// configError is the plugin's config not being what the plugin takes. It refuses the start for good.
type configError struct{ err error }

func (e *configError) Error() string { return "config: " + e.err.Error() }
func (e *configError) Unwrap() error { return e.err }

// NewInitializer adapts a function that takes its config as a struct, by its json tags. A config that does not decode
// refuses the start, with the decoder's text.
func NewInitializer[T any](start func(T)) func(map[string]interface{}) {
	return func(config map[string]interface{}) {
		var t T
		text, err := json.Marshal(config)
		if err == nil {
			err = json.Unmarshal(text, &t)
		}
		if err != nil {
			panic(&configError{err}) // initialize turns it into a refusal
		}
		start(t)
	}
}

// initialize runs the start hooks with the config, which is JSON text or empty.
func (p *NylonPlugin) initialize(text []byte) (err error) {
	config := map[string]any{}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &config); err != nil {
			return &configError{fmt.Errorf("not a JSON object: %w", err)}
		}
	}
	defer func() {
		if r := recover(); r != nil {
			if refused, ok := r.(*configError); ok {
				err = refused
				return
			}
			err = fmt.Errorf("initialize panicked: %v", r)
		}
	}()
	for _, start := range p.starts {
		if err := start(config); err != nil {
			return err
		}
	}
	return nil
}

func isConfigError(err error) bool {
	var refused *configError
	return errors.As(err, &refused)
}

// shutdown runs the stop hooks, the last registered first.
func (p *NylonPlugin) shutdown() {
	for i := len(p.shutdowns) - 1; i >= 0; i-- {
		p.shutdowns[i]()
	}
}
