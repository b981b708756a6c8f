package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os/exec"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// snapshot is all that the rules are made of.
type snapshot struct {
	pods       []*corev1.Pod // that have an address of their own
	namespaces map[string]labels.Set
	policies   []*networkingv1.NetworkPolicy
}

// enforcePolicies keeps one nftables table that drops what no NetworkPolicy
// allows of the pods that one selects. The pods' packets are routed by this node,
// so they all pass here. The node itself reaches its pods: the kubelet probes them.
func enforcePolicies(ctx context.Context, _ *rest.Config, client kubernetes.Interface) error {
	f := informers.NewSharedInformerFactory(client, 0)
	pods, namespaces, policies := f.Core().V1().Pods(), f.Core().V1().Namespaces(), f.Networking().V1().NetworkPolicies()
	changed := newChanges()
	if err := changed.watch(pods.Informer(), namespaces.Informer(), policies.Informer()); err != nil {
		return err
	}
	f.Start(ctx.Done())
	f.WaitForCacheSync(ctx.Done())
	changed.tell()
	for last := ""; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		s := snapshot{namespaces: map[string]labels.Set{}}
		all, err := pods.Lister().List(labels.Everything())
		if err != nil {
			return err
		}
		names, err := namespaces.Lister().List(labels.Everything())
		if err != nil {
			return err
		}
		if s.policies, err = policies.Lister().List(labels.Everything()); err != nil {
			return err
		}
		for _, p := range all {
			if p.Status.PodIP != "" && !p.Spec.HostNetwork && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
				s.pods = append(s.pods, p)
			}
		}
		for _, n := range names {
			s.namespaces[n.Name] = n.Labels
		}
		if table := s.table(); table != last {
			cmd := exec.CommandContext(ctx, "nft", "-f", "-")
			cmd.Stdin = strings.NewReader(table)
			if out, err := cmd.CombinedOutput(); err != nil {
				log.Printf("policy: nft: %v: %s", err, out)
				time.AfterFunc(time.Second, changed.tell)
				continue
			}
			last = table
		}
		time.Sleep(20 * time.Millisecond) // changes come in bursts
	}
}

const tableName = "inet pitboss_policy"

// table is the whole table as nft reads it: a chain for each pod and direction
// that a policy selects, entered by the pod's address.
func (s *snapshot) table() string {
	slices.SortFunc(s.pods, func(a, b *corev1.Pod) int { return cmp.Compare(a.Status.PodIP, b.Status.PodIP) })
	slices.SortFunc(s.policies, func(a, b *networkingv1.NetworkPolicy) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	var chains strings.Builder
	enter := map[networkingv1.PolicyType][]string{}
	for _, pod := range s.pods {
		for _, way := range []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress} {
			rules, selected := s.rules(pod, way)
			if !selected {
				continue
			}
			chain := strings.ToLower(string(way)) + "_" + strings.ReplaceAll(pod.Status.PodIP, ".", "_")
			fmt.Fprintf(&chains, "  chain %s {\n%s    counter drop\n  }\n", chain, rules)
			enter[way] = append(enter[way], pod.Status.PodIP+" : jump "+chain)
		}
	}
	jump := func(field string, way networkingv1.PolicyType) string {
		if len(enter[way]) == 0 {
			return ""
		}
		return fmt.Sprintf("    ip %s vmap { %s }\n", field, strings.Join(enter[way], ", "))
	}
	const hook = "  chain %[1]s {\n    type filter hook %[1]s priority 10; policy accept;\n    ct state established,related accept\n%[2]s  }\n"
	out, in := jump("saddr", networkingv1.PolicyTypeEgress), jump("daddr", networkingv1.PolicyTypeIngress)
	return fmt.Sprintf("table %[1]s\ndelete table %[1]s\ntable %[1]s {\n%[2]s", tableName, chains.String()) +
		fmt.Sprintf(hook, "forward", out+in) + fmt.Sprintf(hook, "input", out) + "}\n"
}

// rules let through what any policy of the pod allows, and tell whether there is one.
func (s *snapshot) rules(pod *corev1.Pod, way networkingv1.PolicyType) (text string, selected bool) {
	for _, p := range s.policies {
		if p.Namespace != pod.Namespace || !slices.Contains(p.Spec.PolicyTypes, way) || !matches(&p.Spec.PodSelector, pod.Labels) {
			continue
		}
		selected = true
		if way == networkingv1.PolicyTypeIngress {
			for _, r := range p.Spec.Ingress {
				text += s.allow("saddr", p.Namespace, r.From, r.Ports, []*corev1.Pod{pod})
			}
			continue
		}
		for _, r := range p.Spec.Egress {
			text += s.allow("daddr", p.Namespace, r.To, r.Ports, s.pods)
		}
	}
	return text, selected
}

// allow is a rule for each peer and port; named are the pods whose named ports count.
func (s *snapshot) allow(field, namespace string, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort, named []*corev1.Pod) (text string) {
	var from []string
	if len(peers) == 0 {
		from = []string{""}
	}
	for _, peer := range peers {
		if b := peer.IPBlock; b != nil {
			match := fmt.Sprintf("ip %s %s ", field, b.CIDR)
			if len(b.Except) > 0 {
				match += fmt.Sprintf("ip %s != { %s } ", field, strings.Join(b.Except, ", "))
			}
			from = append(from, match)
			continue
		}
		var ips []string
		for _, pod := range s.pods {
			if s.isPeer(&peer, namespace, pod) {
				ips = append(ips, pod.Status.PodIP)
			}
		}
		if len(ips) > 0 {
			from = append(from, fmt.Sprintf("ip %s { %s } ", field, strings.Join(ips, ", ")))
		}
	}
	for _, match := range from {
		if len(ports) == 0 {
			text += "    " + match + "return\n"
		}
		for _, port := range ports {
			for _, to := range portMatches(port, named) {
				text += "    " + match + to + " return\n"
			}
		}
	}
	return text
}

func (s *snapshot) isPeer(peer *networkingv1.NetworkPolicyPeer, namespace string, pod *corev1.Pod) bool {
	if peer.NamespaceSelector == nil && pod.Namespace != namespace {
		return false
	}
	if peer.NamespaceSelector != nil && !matches(peer.NamespaceSelector, s.namespaces[pod.Namespace]) {
		return false
	}
	return peer.PodSelector == nil || matches(peer.PodSelector, pod.Labels)
}

func matches(selector *metav1.LabelSelector, of labels.Set) bool {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(of)
}

func portMatches(port networkingv1.NetworkPolicyPort, pods []*corev1.Pod) (out []string) {
	protocol := "tcp"
	if port.Protocol != nil {
		protocol = strings.ToLower(string(*port.Protocol))
	}
	switch {
	case port.Port == nil:
		return []string{"meta l4proto " + protocol}
	case port.Port.Type == intstr.Int && port.EndPort != nil:
		return []string{fmt.Sprintf("%s dport %d-%d", protocol, port.Port.IntVal, *port.EndPort)}
	case port.Port.Type == intstr.Int:
		return []string{fmt.Sprintf("%s dport %d", protocol, port.Port.IntVal)}
	}
	for _, pod := range pods {
		for _, c := range pod.Spec.Containers {
			for _, p := range c.Ports {
				if p.Name == port.Port.StrVal {
					out = append(out, fmt.Sprintf("%s dport %d", protocol, p.ContainerPort))
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
