package manifest

import (
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"knative.dev/pkg/ptr"
)

// accounts renders one ServiceAccount per function. No function uses the API
// server, so no account mounts a token.
func accounts(funcs []*Func) ([]byte, error) {
	out := []byte(generated)
	for _, f := range funcs {
		err := appendObject(&out, corev1.ServiceAccount{
			TypeMeta:                     metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
			ObjectMeta:                   metav1.ObjectMeta{Name: f.Deploy.ServiceAccountName, Labels: partOf("")},
			AutomountServiceAccountToken: ptr.Bool(false),
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// disruptions renders a PodDisruptionBudget for each function that always has an
// instance. It sets maxUnavailable: with one instance minAvailable: 1 would block
// every node drain. The other functions scale to zero, so a budget would protect
// nothing: the Broker retries.
func disruptions(funcs []*Func) ([]byte, error) {
	out := []byte(generated)
	one := intstr.FromInt32(1)
	for _, f := range funcs {
		if *f.Deploy.Options.Scale.Min == 0 {
			continue
		}
		err := appendObject(&out, policyv1.PodDisruptionBudget{
			TypeMeta:   metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"},
			ObjectMeta: metav1.ObjectMeta{Name: f.Name, Labels: partOf("")},
			Spec: policyv1.PodDisruptionBudgetSpec{
				MaxUnavailable: &one,
				Selector:       &metav1.LabelSelector{MatchLabels: map[string]string{"serving.knative.dev/service": f.Name}},
			},
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
