package main

import (
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
)

func pod(namespace, name, ip string, l map[string]string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: l}, Status: corev1.PodStatus{PodIP: ip}}
}

// A pod that a policy selects is entered by its address and reached by what the
// policy names only; the others have no chain.
func TestPolicyTable(t *testing.T) {
	t.Parallel()
	port := intstr.FromInt32(6379)
	s := &snapshot{
		namespaces: map[string]labels.Set{"pitboss": {"name": "pitboss"}, "other": {"name": "other"}},
		pods: []*corev1.Pod{pod("pitboss", "redis", "10.0.0.1", map[string]string{"app": "redis"}),
			pod("pitboss", "profile", "10.0.0.2", map[string]string{"app": "profile"}), pod("other", "profile", "10.0.0.3", map[string]string{"app": "profile"})},
		policies: []*networkingv1.NetworkPolicy{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "pitboss", Name: "redis"},
			Spec: networkingv1.NetworkPolicySpec{
				PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "redis"}}, PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
				Ingress: []networkingv1.NetworkPolicyIngressRule{{
					From:  []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "profile"}}}},
					Ports: []networkingv1.NetworkPolicyPort{{Port: &port}}}},
			}}},
	}
	table := s.table()
	for _, want := range []string{"ip daddr vmap { 10.0.0.1 : jump ingress_10_0_0_1 }", "ip saddr { 10.0.0.2 } tcp dport 6379 return\n    counter drop"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	if strings.Contains(table, "10.0.0.3") || strings.Contains(table, "saddr vmap") {
		t.Errorf("too much:\n%s", table)
	}
}

func known(t *testing.T, objects ...any) *services {
	t.Helper()
	all := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	slices := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{byService: func(o any) ([]string, error) {
		s := o.(*discoveryv1.EndpointSlice)
		return []string{s.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName]}, nil
	}})
	for _, o := range objects {
		to := all
		if _, ok := o.(*discoveryv1.EndpointSlice); ok {
			to = slices
		}
		if err := to.Add(o); err != nil {
			t.Fatal(err)
		}
	}
	return &services{corelisters.NewServiceLister(all), slices}
}

// Names of Services have their cluster address, external names lead on, headless
// ones have their ready pods', and nothing else is known.
func TestNames(t *testing.T) {
	t.Parallel()
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "ns", Name: name} }
	port, name, no := int32(8080), "http", false
	slice := &discoveryv1.EndpointSlice{ObjectMeta: meta("pods-1"), Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.7"}}, {Addresses: []string{"10.0.0.8"}, Conditions: discoveryv1.EndpointConditions{Ready: &no}}}}
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: "pods"}
	s := known(t, &corev1.Service{ObjectMeta: meta("one"), Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.5"}},
		&corev1.Service{ObjectMeta: meta("away"), Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "one.ns.svc.cluster.local"}},
		&corev1.Service{ObjectMeta: meta("pods"), Spec: corev1.ServiceSpec{ClusterIP: "None"}}, slice)
	for name, want := range map[string]string{"one.ns": "10.96.0.5", "away.ns": "10.96.0.5", "pods.ns": "10.0.0.7", "none.ns": "", "one": "", "ONE.ns": "10.96.0.5"} {
		q := dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{{
			Name: dnsmessage.MustNewName(name + zone), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
		packed, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		var reply dnsmessage.Message
		if err := reply.Unpack(s.answer(packed, udpLimit)); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, a := range reply.Answers {
			if r, ok := a.Body.(*dnsmessage.AResource); ok {
				got += netip.AddrFrom4(r.A).String()
			}
		}
		if got != want || (want == "") != (reply.RCode == dnsmessage.RCodeNameError) {
			t.Errorf("%s: %q, %v, want %q", name, got, reply.RCode, want)
		}
	}
	if s.answer([]byte("no question"), udpLimit) != nil {
		t.Error("an answer to no question")
	}
}

// The longest path wins, then the one with headers.
func TestRoutes(t *testing.T) {
	t.Parallel()
	path := func(p, to string, headers map[string]v1alpha1.HeaderMatch) v1alpha1.HTTPIngressPath {
		return v1alpha1.HTTPIngressPath{Path: p, Headers: headers, RewriteHost: to}
	}
	r := routes{"a.example": {path("", "all", nil), path("/deep", "deep", nil), path("", "tagged", map[string]v1alpha1.HeaderMatch{"Tag": {Exact: "x"}})}}
	for _, c := range []struct{ host, path, tag, want string }{
		{"a.example", "/", "", "all"}, {"A.example:80", "/deep/er", "", "deep"}, {"a.example", "/", "x", "tagged"}, {"b.example", "/", "", ""},
	} {
		req := httptest.NewRequest("GET", "http://"+c.host+c.path, nil)
		req.Header.Set("Tag", c.tag)
		got := ""
		if p := r.match(req); p != nil {
			got = p.RewriteHost
		}
		if got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
