// Command gitops says what GitOps tools make of Kubernetes objects, by their own code.
//
//	kubectl get sbc -A -o yaml | gitops judge --argocd-cm deploy/argocd/argocd-cm.yaml
//	gitops suite deploy/argocd/scimbridge.dev/ScimBridgeConnection
//
// judge reads any number of objects, as YAML or JSON, from standard input, and writes one line of JSON for each. suite
// runs the tests of an Argo CD resource customization.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gitops:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("usage: gitops judge|suite")
	}
	switch command, args := args[0], args[1:]; command {
	case "judge":
		flags := flag.NewFlagSet("judge", flag.ContinueOnError)
		argocdCM := flags.String("argocd-cm", "", "file with the ConfigMap that customizes Argo CD")
		if err := flags.Parse(args); err != nil {
			return err
		}
		return judgeAll(*argocdCM, os.Stdin, os.Stdout)
	case "suite":
		if len(args) != 1 {
			return errors.New("usage: gitops suite FOLDER")
		}
		return runSuite(args[0], os.Stdout)
	default:
		return fmt.Errorf("unknown command %q: judge or suite", command)
	}
}

// judgement is what is said of one object.
type judgement struct {
	// Kstatus is what Helm --wait and Flux see.
	Kstatus string `json:"kstatus"`
	// Message is kstatus' own.
	Message string `json:"message"`
	// Health is what Argo CD shows.
	Health health `json:"health"`
	// Actions are what Argo CD offers, by name, with what each makes of the object.
	Actions map[string]action `json:"actions"`
}

func judgeAll(argocdCM string, in io.Reader, out io.Writer) error {
	argocd, err := readArgoCDCustomizations(argocdCM)
	if err != nil {
		return err
	}
	answers := json.NewEncoder(out)
	return eachObject(in, func(object *unstructured.Unstructured) error {
		answer, err := judge(argocd, object)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		return answers.Encode(answer)
	})
}

func judge(argocd argoCDCustomizations, object *unstructured.Unstructured) (judgement, error) {
	var answer judgement
	computed, err := status.Compute(object)
	if err != nil {
		return answer, fmt.Errorf("kstatus: %w", err)
	}
	answer.Kstatus, answer.Message = computed.Status.String(), computed.Message
	kind := object.GroupVersionKind().GroupKind()
	customization, ok := argocd[kind]
	if !ok {
		return answer, fmt.Errorf("argocd-cm says nothing of %s", kind)
	}
	if answer.Health, err = executeHealth(customization.health, object); err != nil {
		return answer, fmt.Errorf("argocd health: %w", err)
	}
	if answer.Actions, err = customization.actions.offered(object); err != nil {
		return answer, fmt.Errorf("argocd actions: %w", err)
	}
	return answer, nil
}

// eachObject calls visit for every object of a stream of YAML or JSON documents; lists count as their items.
func eachObject(in io.Reader, visit func(*unstructured.Unstructured) error) error {
	documents := yaml.NewYAMLOrJSONDecoder(in, 4096)
	for {
		object := &unstructured.Unstructured{}
		switch err := documents.Decode(object); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case object.IsList():
			err := object.EachListItem(func(item runtime.Object) error {
				return visit(item.(*unstructured.Unstructured))
			})
			if err != nil {
				return err
			}
		case len(object.Object) > 0:
			if err := visit(object); err != nil {
				return err
			}
		}
	}
}
