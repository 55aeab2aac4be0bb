// Command schemas writes the JSON schemas of the Kubernetes resources that the chart
// has, out of the OpenAPI documents in k8s.io/client-go (Apache-2.0). Each is strict: a
// property that the resource lacks is an error. The schemas of the resources that client-go
// does not describe, PodDisruptionBudget, PrometheusRule and ServiceMonitor, are written by
// hand and have what the chart uses.
//
//	go run . (in this folder)
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// clientGo is the module; its minor version is that of Kubernetes.
const clientGo = "k8s.io/client-go@v0.37.2"

// resources are file, document and component of each schema.
var resources = [][3]string{
	{"statefulset-apps-v1.json", "apis__apps__v1_openapi.json", "io.k8s.api.apps.v1.StatefulSet"},
	{"service-v1.json", "api__v1_openapi.json", "io.k8s.api.core.v1.Service"},
	{"serviceaccount-v1.json", "api__v1_openapi.json", "io.k8s.api.core.v1.ServiceAccount"},
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "schemas:", err)
		os.Exit(1)
	}
}

func run() error {
	out, err := exec.Command("go", "mod", "download", "-json", clientGo).Output()
	if err != nil {
		return fmt.Errorf("go mod download %s: %w", clientGo, err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return err
	}
	for _, r := range resources {
		if err := write(r[0], filepath.Join(module.Dir, "openapi", "openapitest", "testdata", r[1]), r[2]); err != nil {
			return fmt.Errorf("%s: %w", r[0], err)
		}
	}
	return nil
}

// write writes the schema of one component, with all that it refers to.
func write(file, document, component string) error {
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	var d struct {
		Components struct{ Schemas map[string]map[string]any }
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return err
	}
	definitions := map[string]any{}
	if err := collect(component, d.Components.Schemas, definitions); err != nil {
		return err
	}
	schema, err := json.MarshalIndent(map[string]any{
		"$comment":    "Made by packaging/helm/schemas of " + clientGo + ", Apache-2.0.",
		"$schema":     "http://json-schema.org/draft-07/schema#",
		"$ref":        "#/definitions/" + component,
		"definitions": definitions,
	}, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(schema, '\n'), 0o644)
}

const componentPrefix = "#/components/schemas/"

// collect adds the component and what it refers to.
func collect(component string, all map[string]map[string]any, to map[string]any) error {
	if _, ok := to[component]; ok {
		return nil
	}
	schema, ok := all[component]
	if !ok {
		return errors.New("no component " + component)
	}
	to[component] = schema
	var refs []string
	tighten(schema, &refs)
	for _, ref := range refs {
		if err := collect(ref, all, to); err != nil {
			return err
		}
	}
	return nil
}

// tighten makes a schema of OpenAPI one of JSON Schema, without its texts, that allows
// no other property than its own. It adds what the schema refers to.
func tighten(schema any, refs *[]string) {
	switch s := schema.(type) {
	case []any:
		for _, item := range s {
			tighten(item, refs)
		}
	case map[string]any:
		if ref, ok := s["$ref"].(string); ok {
			name := strings.TrimPrefix(ref, componentPrefix)
			s["$ref"] = "#/definitions/" + name
			*refs = append(*refs, name)
		}
		properties, _ := s["properties"].(map[string]any)
		for _, property := range properties {
			tighten(property, refs)
		}
		for key, value := range s {
			switch {
			case key == "description" || key == "default" || key == "format" || strings.HasPrefix(key, "x-"):
				delete(s, key)
			case key != "properties" && key != "required":
				tighten(value, refs)
			}
		}
		if _, open := s["additionalProperties"]; properties != nil && !open {
			s["additionalProperties"] = false
		}
	}
}
