package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	luajson "layeh.com/gopher-json"
	"sigs.k8s.io/yaml"
)

// Argo CD's own package cannot be a dependency: it is made for a newer Go, or asks for modules that were never
// published. So its engine (gopher-lua, and gopher-json for what scripts return) is set up here as Argo CD sets it up
// for customizations, after util/lua/lua.go of v3.6.

// scriptTimeout is how long Argo CD lets a script run.
const scriptTimeout = time.Second

// health is what Argo CD shows of an object.
type health struct {
	Status  string `json:"status"`
	Message string `json:"message,omitempty"`
}

// healthStatuses are those that Argo CD accepts from a script.
var healthStatuses = []string{"Unknown", "Progressing", "Suspended", "Healthy", "Degraded", "Missing"}

// action is one that Argo CD offers.
type action struct {
	Disabled bool `json:"disabled"`
	// Becomes is the object after it.
	Becomes map[string]any `json:"becomes"`
}

// actions are scripts, by the names and in the form that argocd-cm has them.
type actions struct {
	Discovery   string `json:"discovery.lua"`
	Definitions []struct {
		Name   string `json:"name"`
		Action string `json:"action.lua"`
	} `json:"definitions"`
}

type argoCDCustomization struct {
	health  string
	actions actions
}

type argoCDCustomizations map[schema.GroupKind]*argoCDCustomization

// readArgoCDCustomizations reads resource.customizations.{health,actions}.GROUP_KIND from the ConfigMap.
func readArgoCDCustomizations(file string) (argoCDCustomizations, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var configMap struct {
		Data map[string]string `json:"data"`
	}
	if err := yaml.UnmarshalStrict(text, &configMap, yaml.DisallowUnknownFields); err != nil {
		if err := yaml.Unmarshal(text, &configMap); err != nil {
			return nil, err
		}
	}
	customizations := argoCDCustomizations{}
	for key, value := range configMap.Data {
		rest, ok := strings.CutPrefix(key, "resource.customizations.")
		if !ok {
			continue
		}
		what, groupKind, _ := strings.Cut(rest, ".")
		group, kind, ok := strings.Cut(groupKind, "_")
		if !ok {
			return nil, fmt.Errorf("%s: not of the form GROUP_KIND", key)
		}
		customization := customizations.of(schema.GroupKind{Group: group, Kind: kind})
		switch what {
		case "health":
			customization.health = value
		case "actions":
			if err := yaml.UnmarshalStrict([]byte(value), &customization.actions); err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
		default:
			return nil, fmt.Errorf("%s: neither health nor actions", key)
		}
	}
	return customizations, nil
}

func (customizations argoCDCustomizations) of(kind schema.GroupKind) *argoCDCustomization {
	if _, ok := customizations[kind]; !ok {
		customizations[kind] = &argoCDCustomization{}
	}
	return customizations[kind]
}

// executeHealth runs a health script.
func executeHealth(script string, object *unstructured.Unstructured) (health, error) {
	var found health
	returned, err := execute(script, object)
	if err != nil {
		return found, err
	}
	if err := json.Unmarshal(returned, &found); err != nil {
		return found, err
	}
	if !slices.Contains(healthStatuses, found.Status) {
		return found, fmt.Errorf("Argo CD knows no health %q", found.Status)
	}
	return found, nil
}

// offered runs the discovery script and, for each action that it names, the action.
func (actions actions) offered(object *unstructured.Unstructured) (map[string]action, error) {
	if actions.Discovery == "" && len(actions.Definitions) == 0 {
		return map[string]action{}, nil
	}
	offered, err := executeDiscovery(actions.Discovery, object)
	if err != nil {
		return nil, err
	}
	for _, definition := range actions.Definitions {
		found, ok := offered[definition.Name]
		if !ok {
			return nil, fmt.Errorf("action %s is never offered", definition.Name)
		}
		if found.Becomes, err = executeAction(definition.Action, object); err != nil {
			return nil, fmt.Errorf("action %s: %w", definition.Name, err)
		}
		offered[definition.Name] = found
	}
	for name, found := range offered {
		if found.Becomes == nil {
			return nil, fmt.Errorf("action %s is offered without a definition", name)
		}
	}
	return offered, nil
}

// executeDiscovery runs a discovery script.
func executeDiscovery(script string, object *unstructured.Unstructured) (map[string]action, error) {
	returned, err := execute(script, object)
	if err != nil {
		return nil, err
	}
	offered := map[string]action{}
	return offered, json.Unmarshal(returned, &offered)
}

// executeAction runs the script of an action, and returns the object after it.
func executeAction(script string, object *unstructured.Unstructured) (map[string]any, error) {
	returned, err := execute(script, object)
	if err != nil {
		return nil, err
	}
	after := &unstructured.Unstructured{}
	if err := after.UnmarshalJSON(returned); err != nil {
		return nil, err
	}
	restoreEmptyObjects(after.Object, object.Object)
	return after.Object, nil
}

// execute runs a script with obj as its only input, and returns the table that it returned, as JSON.
//
// A script has the base, table and package libraries, and of os the functions date and time, by require("os"). Strings
// have no methods.
func execute(script string, object *unstructured.Unstructured) ([]byte, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage,
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return nil, err
		}
	}
	state.PreloadModule(lua.OsLibName, safeOS)
	ctx, cancel := context.WithTimeout(context.Background(), scriptTimeout)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("actionParams", state.NewTable())
	state.SetGlobal("obj", toLua(state, object.Object))
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	returned := state.Get(-1)
	if returned.Type() != lua.LTTable {
		return nil, fmt.Errorf("a script must return a table, and not %s", returned.Type())
	}
	return luajson.Encode(returned)
}

// safeOS is os with the functions that a script may have.
func safeOS(state *lua.LState) int {
	whole := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer whole.Close()
	lua.OpenOs(whole)
	all := whole.GetGlobal(lua.OsLibName).(*lua.LTable)
	safe := state.NewTable()
	for _, name := range []string{"date", "time"} {
		safe.RawSetString(name, state.NewFunction(all.RawGetString(name).(*lua.LFunction).GFunction))
	}
	state.Push(safe)
	return 1
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case map[string]any:
		table := state.CreateTable(0, len(value))
		for _, key := range slices.Sorted(maps.Keys(value)) {
			table.RawSetString(key, toLua(state, value[key]))
		}
		return table
	case []any:
		table := state.CreateTable(len(value), 0)
		for _, item := range value {
			table.Append(toLua(state, item))
		}
		return table
	case int64:
		return lua.LNumber(value)
	default:
		return luajson.DecodeValue(state, value)
	}
}

// restoreEmptyObjects makes an empty object of every empty list that was one before: Lua has one type for both.
func restoreEmptyObjects(after, before map[string]any) {
	for key, was := range before {
		switch was := was.(type) {
		case map[string]any:
			switch is := after[key].(type) {
			case map[string]any:
				restoreEmptyObjects(is, was)
			case []any:
				if len(is) == 0 {
					after[key] = map[string]any{}
				}
			}
		case []any:
			is, _ := after[key].([]any)
			for index := range min(len(is), len(was)) {
				inner, isObject := is[index].(map[string]any)
				outer, wasObject := was[index].(map[string]any)
				if isObject && wasObject {
					restoreEmptyObjects(inner, outer)
				}
			}
		}
	}
}

// sameJSON tells whether two values are the same once they are JSON.
func sameJSON(one, other any) (bool, error) {
	left, err := json.Marshal(one)
	if err != nil {
		return false, err
	}
	right, err := json.Marshal(other)
	return bytes.Equal(left, right), err
}
