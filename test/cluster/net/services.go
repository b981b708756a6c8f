package main

import (
	"context"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// services are the cluster's Services and where each of them leads.
type services struct {
	corelisters.ServiceLister
	slices cache.Indexer // by namespace/service
}

const byService = "service"

func watchServices(ctx context.Context, client kubernetes.Interface) (*services, error) {
	f := informers.NewSharedInformerFactory(client, 0)
	slices := f.Discovery().V1().EndpointSlices().Informer()
	err := slices.AddIndexers(cache.Indexers{byService: func(o any) ([]string, error) {
		s := o.(*discoveryv1.EndpointSlice)
		return []string{s.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName]}, nil
	}})
	if err != nil {
		return nil, err
	}
	s := &services{f.Core().V1().Services().Lister(), slices.GetIndexer()}
	f.Start(ctx.Done())
	f.WaitForCacheSync(ctx.Done())
	return s, nil
}

// endpoints are the ready addresses behind one port of a Service; port "" is any.
func (s *services) endpoints(svc *corev1.Service, port string) (out []netip.AddrPort) {
	found, _ := s.slices.ByIndex(byService, svc.Namespace+"/"+svc.Name) // fails for an unknown index only
	for _, o := range found {
		slice := o.(*discoveryv1.EndpointSlice)
		for _, p := range slice.Ports {
			if p.Port == nil || port != "" && (p.Name == nil || *p.Name != port) {
				continue
			}
			for _, e := range slice.Endpoints {
				if e.Conditions.Ready != nil && !*e.Conditions.Ready && !svc.Spec.PublishNotReadyAddresses {
					continue
				}
				for _, a := range e.Addresses {
					if ip, err := netip.ParseAddr(a); err == nil {
						out = append(out, netip.AddrPortFrom(ip, uint16(*p.Port)))
					}
				}
			}
		}
	}
	return out
}
