package manifest_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/yaml"

	"pitboss/broker/manifest"
	"pitboss/test/kustomize"
)

const root = "../.."

func TestRepositoryIsClean(t *testing.T) {
	t.Parallel()
	if err := manifest.Lint(root); err != nil {
		t.Error(err)
	}
}

func TestGeneratedManifestsAreCurrent(t *testing.T) {
	t.Parallel()
	files, err := manifest.Generated(root)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range files {
		got, err := os.ReadFile(filepath.Join(root, path))
		if err != nil || string(got) != string(want) {
			t.Errorf("%s is not current (%v): run go generate ./broker/manifest", path, err)
		}
	}
}

// Every overlay is rendered as kubectl apply -k would, and each object is
// decoded strictly and validated by Knative's own types.
func TestOverlaysAreValid(t *testing.T) {
	t.Parallel()
	for overlay, class := range map[string]string{"kafka": "Kafka", "rabbitmq": "RabbitMQBroker", "in-memory": "MTChannelBasedBroker", "services": ""} {
		t.Run(overlay, func(t *testing.T) {
			t.Parallel()
			text, err := kustomize.Render(filepath.Join(root, "broker", overlay))
			if err != nil {
				t.Fatal(err)
			}
			if ps := manifest.Check(overlay, text); len(ps) > 0 {
				t.Error(ps)
			}
			if !strings.Contains(string(text), "eventing.knative.dev/broker.class: "+class+"\n") && class != "" {
				t.Errorf("the Broker's class is not %s", class)
			}
		})
	}
}

// Each mistake is made in a copy of the repository's manifests; lint must name
// file, field and remedy.
func TestMistakesAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file, old, new string
		want                 []string
	}{
		{"misspelt attribute", "triggers/score.yaml", "      type:", "      tpye:",
			[]string{"triggers/score.yaml: spec.filter.attributes.tpye:", "did you mean type?"}},
		{"unknown type", "triggers/score.yaml", "player.updated.v1", "player.updatd.v1",
			[]string{"spec.filter.attributes.type:", "did you mean pitboss.player.updated.v1?"}},
		{"misspelt field", "triggers/score.yaml", "  filter:", "  fliter:",
			[]string{"triggers/score.yaml: spec.fliter: there is no such field", "did you mean filter?"}},
		{"reply cycle", "functions/decide/func.yaml", "pitboss.recommendation.revoked.v1'", "pitboss.player.updated.v1'",
			[]string{"triggers/", "a cycle of replies: ", "–score→ pitboss.player.scored.v1", "–decide→ pitboss.player.updated.v1", "nothing stops the loop"}},
		{"Broker without a dead-letter sink", "broker/base/broker.yaml", "    deadLetterSink:\n      ref:\n        apiVersion: serving.knative.dev/v1\n        kind: Service\n        name: pitboss-console\n      uri: /deadletters\n", "",
			[]string{"broker/base/broker.yaml: spec.delivery.deadLetterSink: is missing", "uri: /deadletters"}},
		{"Trigger without a dead-letter sink", "triggers/score.yaml", "    deadLetterSink:\n      ref:\n        apiVersion: serving.knative.dev/v1\n        kind: Service\n        name: pitboss-console\n      uri: /deadletters\n", "",
			[]string{"triggers/score.yaml: spec.delivery.deadLetterSink: is missing"}},
		{"unknown function", "functions/score/func.yaml", "value: score", "value: scroe",
			[]string{"functions/score/func.yaml: run.envs.FUNCTION_TARGET: there is no function \"scroe\"", "did you mean score?"}},
		{"misspelt field of func.yaml", "functions/score/func.yaml", "utilization:", "utilisation:",
			[]string{"functions/score/func.yaml: deploy.options.scale.utilisation: there is no such field", "did you mean utilization?"}},
		{"autoscaling annotation", "functions/score/func.yaml", "    pitboss/takes:", "    autoscaling.knative.dev/min-scale: '1'\n    pitboss/takes:",
			[]string{"deploy.annotations.autoscaling.knative.dev/min-scale", "deploy.options.scale"}},
		{"a busy function whose queue-proxy asks for nothing", "functions/score/func.yaml", "    queue.sidecar.serving.knative.dev/cpu-resource-request: 200m", "    pitboss/queue: 200m",
			[]string{"functions/score/func.yaml: deploy.annotations.queue.sidecar.serving.knative.dev/cpu-resource-request: is missing", "200m"}},
		{"a queue-proxy that asks for no quantity", "functions/score/func.yaml", "cpu-resource-request: 200m", "cpu-resource-request: '200 m'",
			[]string{"deploy.annotations.queue.sidecar.serving.knative.dev/cpu-resource-request: ", "200m"}},
		{"backoff that is none", "triggers/score.yaml", "PT0.2S", "PT0.05S",
			[]string{"spec.delivery.backoffDelay", "PT0.1S"}},
		{"retry that is no number", "triggers/score.yaml", "retry: 10", "retry: -1",
			[]string{"triggers/score.yaml: spec.delivery.retry: invalid value: -1"}},
		{"unknown subscriber", "triggers/score.yaml", "name: pitboss-score\n  delivery", "name: pitboss-scores\n  delivery",
			[]string{"spec.subscriber.ref.name", "did you mean pitboss-score?"}},
		{"other Broker", "triggers/score.yaml", "broker: pitboss", "broker: default",
			[]string{"triggers/score.yaml: spec.broker:", "spec.broker: pitboss"}},
		{"spec.filters", "triggers/score.yaml", "  filter:\n    attributes:\n      type: pitboss.player.updated.v1", "  filters:\n    - prefix: {type: pitboss.player.updated}",
			[]string{"spec.filters", "RabbitMQ"}},
		{"one of several types, misspelt", "triggers/feedback.yaml", "type: pitboss.review.decided.v1", "type: pitboss.review.decide.v1",
			[]string{"triggers/feedback.yaml: spec.filters[0].any[6].exact.type: ", "did you mean pitboss.review.decided.v1?"}},
		{"one of several types, not taken", "triggers/feedback.yaml", "type: pitboss.review.decided.v1", "type: pitboss.round.settled.v1",
			[]string{"triggers/feedback.yaml: spec.filters[0].any[6].exact.type: feedback does not take pitboss.round.settled.v1"}},
		{"a Trigger that asks for order", "triggers/profile.yaml", "  annotations:\n", "  annotations:\n    kafka.eventing.knative.dev/delivery.order: ordered\n",
			[]string{"triggers/profile.yaml: metadata.annotations.kafka.eventing.knative.dev/delivery.order: ", "250 events/s", "take it away"}},
		{"no PDB field of that name", "broker/base/disruption.yaml", "  maxUnavailable: 1", "  maxUnavailible: 1",
			[]string{"broker/base/disruption.yaml", "maxUnavailible"}},
		{"two Triggers of one name", "triggers/decide-protection.yaml", "name: pitboss-decide-protection", "name: pitboss-decide",
			[]string{"metadata.name", "decide-protection.yaml"}},
		{"two Triggers that do the same", "triggers/decide-protection.yaml", "pitboss.consent.changed.v1", "pitboss.player.scored.v1",
			[]string{"triggers/decide.yaml: spec.filter.attributes: ", "triggers/decide-protection.yaml", "delivered twice"}},
		{"Trigger without a filter", "triggers/score.yaml", "  filter:\n    attributes:\n      type: pitboss.player.updated.v1\n", "",
			[]string{"triggers/score.yaml: spec.filter.attributes.type: is missing", "refuse all but pitboss.player.updated.v1"}},
		{"Trigger that kustomize does not know", "triggers/kustomization.yaml", "  - score.yaml\n", "",
			[]string{"triggers/kustomization.yaml: resources: score.yaml is not in the list", "add - score.yaml"}},
		{"dead-letter sink that is not there", "triggers/score.yaml", "name: pitboss-console", "name: pitboss-consol",
			[]string{"triggers/score.yaml: spec.delivery.deadLetterSink.ref.name: no func.yaml deploys", "did you mean pitboss-console?"}},
		{"dead letters to another path", "triggers/score.yaml", "uri: /deadletters", "uri: /events",
			[]string{"triggers/score.yaml: spec.delivery.deadLetterSink.uri: ", "uri: /deadletters"}},
		{"function named by the root", "func.yaml", "build:", "run:\n  envs:\n    - name: FUNCTION_TARGET\n      value: score\nbuild:",
			[]string{"func.yaml: run.envs.FUNCTION_TARGET: the root is only built", "functions/<name>/func.yaml"}},
		{"secret without a key", "functions/decide/func.yaml", "{{ secret:pitboss-redis:url }}", "{{ secret:pitboss-redis }}",
			[]string{"functions/decide/func.yaml: run.envs.REDIS_URL: ", "{{ secret:NAME:KEY }}"}},
		{"address outside the cluster", "functions/decide/func.yaml", "value: cluster-local", "value: public",
			[]string{"functions/decide/func.yaml: deploy.labels: anybody outside the cluster", "pitboss/public"}},
		{"memory that is no quantity", "functions/score/func.yaml", "memory: 512Mi", "memory: 512 MB",
			[]string{"functions/score/func.yaml: deploy.options.resources.limits: memory: ", "memory: 512Mi"}},
		{"number without a reason", "functions/privacy/func.yaml", "target: 5 # half of an instance's concurrency", "target: 5",
			[]string{"functions/privacy/func.yaml: deploy.options.scale.target: has no reason beside it", "why this number"}},
		{"GOMEMLIMIT over the container's limit", "functions/score/func.yaml", "value: 350MiB", "value: 600MiB",
			[]string{"functions/score/func.yaml: run.envs.GOMEMLIMIT: is \"600MiB\", with a memory limit of 512Mi", "nine tenths"}},
		{"bounds the wrong way round", "functions/profile/func.yaml", "min: 1", "min: 21",
			[]string{"functions/profile/func.yaml: ", "max-scale=20 is less than min-scale=21", "deploy.options"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := copyManifests(t)
			file := filepath.Join(dir, filepath.FromSlash(c.file))
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), c.old) {
				t.Fatalf("%s does not contain %q any more", c.file, c.old)
			}
			if err := os.WriteFile(file, []byte(strings.Replace(string(text), c.old, c.new, 1)), 0o644); err != nil {
				t.Fatal(err)
			}
			err = manifest.Lint(dir)
			if err == nil {
				t.Fatal("lint found nothing")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("lint says\n%v\nwant it to contain %q", err, want)
				}
			}
		})
	}
}

// copyManifests copies every manifest, and function.go as the sign of a
// function, into a new folder.
func copyManifests(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, pattern := range []string{"func.yaml", "functions/*/func.yaml", "functions/*/function.go", "triggers/*.yaml", "broker/base/*.yaml"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			rel, _ := filepath.Rel(root, file)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			to := filepath.Join(dir, rel)
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// What runs on a schedule is as locked up as the functions: not root, nothing
// to write but its volume, no token, never two at once.
func TestTheJournalsScheduleIsLockedUp(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "broker", "services", "journal.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var c batchv1.CronJob
	first, _, _ := strings.Cut(string(text), "\n---\n")
	if err := yaml.UnmarshalStrict([]byte(first), &c); err != nil {
		t.Fatal(err)
	}
	pod := c.Spec.JobTemplate.Spec.Template.Spec
	box := pod.Containers[0].SecurityContext
	if c.Spec.ConcurrencyPolicy != batchv1.ForbidConcurrent || !*pod.SecurityContext.RunAsNonRoot || *pod.AutomountServiceAccountToken ||
		!*box.ReadOnlyRootFilesystem || *box.AllowPrivilegeEscalation || box.Capabilities.Drop[0] != "ALL" {
		t.Errorf("%+v", pod)
	}
	if pod.Containers[0].VolumeMounts[0].MountPath != "/journal" || !slices.Contains(pod.Containers[0].Command, "/journal") {
		t.Errorf("it writes elsewhere than to its volume: %v", pod.Containers[0].Command)
	}
}
