package main

import (
	"context"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// fluxExpressions are the healthCheckExprs of a Flux Kustomization, ready to run.
type fluxExpressions map[schema.GroupKind]*cel.StatusEvaluator

func readFluxExpressions(file string) (fluxExpressions, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var kustomization struct {
		Spec struct {
			HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &kustomization); err != nil {
		return nil, err
	}
	expressions := fluxExpressions{}
	for _, check := range kustomization.Spec.HealthCheckExprs {
		evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			return nil, err
		}
		expressions[schema.FromAPIVersionAndKind(check.APIVersion, check.Kind).GroupKind()] = evaluator
	}
	return expressions, nil
}

// evaluate tells what Flux sees: by the expressions for the kind, else by kstatus.
func (expressions fluxExpressions) evaluate(ctx context.Context, object *unstructured.Unstructured) (string, error) {
	compute := status.Compute
	if evaluator, ok := expressions[object.GroupVersionKind().GroupKind()]; ok {
		compute = func(object *unstructured.Unstructured) (*status.Result, error) {
			return evaluator.Evaluate(ctx, object)
		}
	}
	result, err := compute(object)
	if err != nil {
		return "", err
	}
	return result.Status.String(), nil
}
