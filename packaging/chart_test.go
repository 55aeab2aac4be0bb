package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	helm        = "helm.sh/helm/v4/cmd/helm@v4.3.2"
	kubeconform = "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0"
)

// goRun runs a tool that is a Go module.
func goRun(tool, input string, args ...string) (string, error) {
	cmd := exec.Command("go", append([]string{"run", tool}, args...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdin = strings.NewReader(input)
	var told strings.Builder // of downloads, and that a file of the chart is a link
	cmd.Stderr = &told
	out, err := cmd.Output()
	if err != nil {
		return string(out) + told.String(), err
	}
	return string(out), nil
}

// everything are values that switch every part of the chart on.
var everything = []string{"--set", "serviceMonitor.enabled=true,serviceMonitor.labels.release=prometheus,prometheusRule.enabled=true,prometheusRule.labels.release=prometheus,tlsSecretName=tls," +
	"callbackCAConfigMapName=ca,settings.RETENTION=336h,persistence.storageClassName=fast,imagePullSecrets[0].name=registry," +
	"podAnnotations.a=b,podLabels.a=b,nodeSelector.a=b,priorityClassName=high,serviceAccount.annotations.a=b,tolerations[0].key=a"}

// render is the chart with values.
func render(t *testing.T, values ...string) string {
	t.Helper()
	out, err := goRun(helm, "", append([]string{"template", "test", "helm/recapito"}, values...)...)
	if err != nil {
		t.Fatalf("helm template: %v\n%s", err, out)
	}
	return out
}

// The chart passes helm's linter, and all that it renders is what Kubernetes takes.
func TestChartIsValid(t *testing.T) {
	if out, err := goRun(helm, "", "lint", "--strict", "helm/recapito"); err != nil {
		t.Errorf("helm lint: %v\n%s", err, out)
	}
	for name, values := range map[string][]string{"defaults": nil, "everything": everything} {
		out, err := goRun(kubeconform, render(t, values...), "-strict", "-summary",
			"-schema-location", "helm/schemas/{{.ResourceKind}}{{.KindSuffix}}.json")
		if err != nil || !strings.Contains(out, "Skipped: 0") {
			t.Errorf("kubeconform, with %s: %v\n%s", name, err, out)
		}
	}
	if out, err := goRun(helm, "", "template", "test", "helm/recapito", "--set", "terminationGracePeriodSeconds=20"); err == nil {
		t.Errorf("a stop that is shorter than the drain was rendered:\n%s", out)
	}
}

// statefulSet is what the tests look at.
type statefulSet struct {
	Kind string
	Spec struct {
		Template struct {
			Spec struct {
				Containers []struct {
					Image string
					Args  []string
					Env   []struct{ Name, Value string }
					Ports []struct {
						Name          string
						ContainerPort string `yaml:"containerPort"`
					}
					StartupProbe   probe `yaml:"startupProbe"`
					LivenessProbe  probe `yaml:"livenessProbe"`
					ReadinessProbe probe `yaml:"readinessProbe"`
				}
			}
		}
	}
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

// The image runs with the environment that the chart gives it, and answers the chart's
// probes.
func TestChartRuns(t *testing.T) {
	_, root, config := openImage(t)
	var set statefulSet
	for documents := yaml.NewDecoder(strings.NewReader(render(t))); set.Kind != "StatefulSet"; {
		set = statefulSet{}
		if err := documents.Decode(&set); errors.Is(err, io.EOF) {
			t.Fatal("the chart has no StatefulSet")
		} else if err != nil {
			t.Fatal(err)
		}
	}
	container := set.Spec.Template.Spec.Containers[0]
	env := config.Env
	for _, v := range container.Env {
		env = append(env, v.Name+"="+v.Value)
		if strings.HasSuffix(v.Name, "_KEY_FILE") {
			file := filepath.Join(root, v.Value)
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, bytes.Repeat([]byte("0123456789abcdef"), 4), 0o444)); err != nil {
				t.Fatal(err)
			}
		}
	}
	var probes []string
	for _, p := range []probe{container.StartupProbe, container.LivenessProbe, container.ReadinessProbe} {
		if p.HTTPGet.Port != "ops" {
			t.Errorf("the probe %s is at port %q, want ops", p.HTTPGet.Path, p.HTTPGet.Port)
		}
		probes = append(probes, p.HTTPGet.Path)
	}
	for _, p := range container.Ports {
		want := map[string]string{"api": "RECAPITO_LISTEN=:", "ops": "RECAPITO_OPS_LISTEN=:"}[p.Name] + p.ContainerPort
		if !strings.Contains(strings.Join(env, "\n")+"\n", want+"\n") {
			t.Errorf("the port %s is %s, but the environment has no %s", p.Name, p.ContainerPort, want)
		}
	}
	if _, version, _ := strings.Cut(container.Image, ":"); version == "" || !strings.HasPrefix(filepath.Base(one(t, built(t), "*_oci.tar")), "recapito_"+version+"_") {
		t.Errorf("the chart runs version %q, want that of the release", version)
	}
	runImage(t, root, config, container.Args, env, probes...)
}
