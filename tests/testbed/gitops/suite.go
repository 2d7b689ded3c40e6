package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// requestedAt is set to the time of day by an action, and so differs from run to run.
const requestedAt = "reconcile.fluxcd.io/requestedAt"

type healthTests struct {
	Tests []struct {
		InputPath    string `json:"inputPath"`
		HealthStatus health `json:"healthStatus"`
	} `json:"tests"`
}

type actionTests struct {
	DiscoveryTests []struct {
		InputPath string `json:"inputPath"`
		Result    []struct {
			Name     string `json:"name"`
			Disabled bool   `json:"disabled"`
		} `json:"result"`
	} `json:"discoveryTests"`
	ActionTests []struct {
		Action             string `json:"action"`
		InputPath          string `json:"inputPath"`
		ExpectedOutputPath string `json:"expectedOutputPath"`
	} `json:"actionTests"`
}

// runSuite runs health_test.yaml and actions/action_test.yaml of a resource customization, in the form that Argo CD's
// own tests read. It is stricter in two points: no script has more libraries than in production, and the actions that
// are offered must be exactly those that are expected.
func runSuite(folder string, out io.Writer) error {
	healths, err := runHealthTests(folder)
	if err != nil {
		return err
	}
	actions, err := runActionTests(filepath.Join(folder, "actions"))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%d health tests and %d action tests passed\n", healths, actions)
	return err
}

func runHealthTests(folder string) (int, error) {
	var suite healthTests
	if err := readYAML(filepath.Join(folder, "health_test.yaml"), &suite); err != nil {
		return 0, err
	}
	script, err := os.ReadFile(filepath.Join(folder, "health.lua"))
	if err != nil {
		return 0, err
	}
	var failures []error
	for _, test := range suite.Tests {
		err := withObject(folder, test.InputPath, func(object *unstructured.Unstructured) error {
			found, err := executeHealth(string(script), object)
			if err == nil && found != test.HealthStatus {
				err = fmt.Errorf("is %+v, and should be %+v", found, test.HealthStatus)
			}
			return err
		})
		failures = append(failures, err)
	}
	return len(suite.Tests), errors.Join(failures...)
}

// runActionTests runs the tests of actions. A resource without actions has no such folder.
func runActionTests(folder string) (int, error) {
	if _, err := os.Stat(folder); errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	var suite actionTests
	if err := readYAML(filepath.Join(folder, "action_test.yaml"), &suite); err != nil {
		return 0, err
	}
	discovery, err := os.ReadFile(filepath.Join(folder, "discovery.lua"))
	if err != nil {
		return 0, err
	}
	var failures []error
	for _, test := range suite.DiscoveryTests {
		err := withObject(folder, test.InputPath, func(object *unstructured.Unstructured) error {
			found, err := executeDiscovery(string(discovery), object)
			if err != nil {
				return err
			}
			expected := map[string]action{}
			for _, action := range test.Result {
				expected[action.Name] = action_(action.Disabled)
			}
			return expectSame(found, expected)
		})
		failures = append(failures, err)
	}
	for _, test := range suite.ActionTests {
		err := withObject(folder, test.InputPath, func(object *unstructured.Unstructured) error {
			script, err := os.ReadFile(filepath.Join(folder, test.Action, "action.lua"))
			if err != nil {
				return err
			}
			after, err := executeAction(string(script), object)
			if err != nil {
				return err
			}
			return withObject(folder, test.ExpectedOutputPath, func(expected *unstructured.Unstructured) error {
				found := &unstructured.Unstructured{Object: after}
				if err := adoptRequestedAt(found, expected); err != nil {
					return err
				}
				return expectSame(found.Object, expected.Object)
			})
		})
		failures = append(failures, err)
	}
	return len(suite.DiscoveryTests) + len(suite.ActionTests), errors.Join(failures...)
}

func action_(disabled bool) action { return action{Disabled: disabled} }

// adoptRequestedAt takes over the expected time where there is one in both.
func adoptRequestedAt(found, expected *unstructured.Unstructured) error {
	annotations := found.GetAnnotations()
	value, ok := annotations[requestedAt]
	if !ok {
		return nil
	}
	if _, err := time.Parse(time.RFC3339, value); err != nil {
		return err
	}
	if wanted, ok := expected.GetAnnotations()[requestedAt]; ok {
		annotations[requestedAt] = wanted
		found.SetAnnotations(annotations)
	}
	return nil
}

func expectSame(found, expected any) error {
	same, err := sameJSON(found, expected)
	if err == nil && !same {
		err = fmt.Errorf("is %v, and should be %v", found, expected)
	}
	return err
}

// withObject calls visit with the object of a file, and says which file it was where that fails.
func withObject(folder, path string, visit func(*unstructured.Unstructured) error) error {
	file, err := os.Open(filepath.Join(folder, path))
	if err != nil {
		return err
	}
	defer file.Close()
	if err := eachObject(file, visit); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func readYAML(file string, into any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
