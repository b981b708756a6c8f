package main

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"knative.dev/networking/pkg/apis/networking"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/networking/pkg/client/clientset/versioned"
	netinformers "knative.dev/networking/pkg/client/informers/externalversions"
	netlisters "knative.dev/networking/pkg/client/listers/networking/v1alpha1"
)

// ingressClass is what Serving's config-network names.
const ingressClass = "pitboss.ingress.networking.knative.dev"

// routes are the paths of each host.
type routes map[string][]v1alpha1.HTTPIngressPath

// ingress keeps the routes of Knative's Ingress objects and proxies by them.
// The public port knows public hosts only, the private one all.
type ingress struct {
	client          versioned.Interface
	list            netlisters.IngressLister
	services        *services
	public, private atomic.Pointer[routes]
	http1, http2    http.RoundTripper
}

func serveIngress(ctx context.Context, config *rest.Config, client kubernetes.Interface) error {
	nets, err := versioned.NewForConfig(config)
	if err != nil {
		return err
	}
	known, err := watchServices(ctx, client)
	if err != nil {
		return err
	}
	f := netinformers.NewSharedInformerFactory(nets, 0)
	objects, changed := f.Networking().V1alpha1().Ingresses(), newChanges()
	if err := changed.watch(objects.Informer()); err != nil {
		return err
	}
	g := &ingress{client: nets, list: objects.Lister(), services: known, http1: transport(false), http2: transport(true)}
	f.Start(ctx.Done())
	f.WaitForCacheSync(ctx.Done())
	changed.tell()
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return g.follow(ctx, changed) })
	work.Go(func() error { return listen(ctx, ":8080", g.proxy(&g.public)) })
	work.Go(func() error { return listen(ctx, ":8081", g.proxy(&g.private)) })
	return work.Wait()
}

func (g *ingress) follow(ctx context.Context, changed changes) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
			if g.reconcile(ctx) != nil { // most often a conflict of two writers
				time.AfterFunc(time.Second, changed.tell)
			}
		}
	}
}

// reconcile makes the routes, then marks each Ingress as ready: this process is
// proxy and controller in one, so there is nothing to wait for.
func (g *ingress) reconcile(ctx context.Context) error {
	all, err := g.list.List(labels.Everything())
	if err != nil {
		return err
	}
	public, private := routes{}, routes{}
	var ours []*v1alpha1.Ingress
	for _, i := range all {
		if i.Annotations[networking.IngressClassAnnotationKey] != ingressClass || i.DeletionTimestamp != nil {
			continue
		}
		for _, rule := range i.Spec.Rules {
			for _, host := range rule.Hosts {
				private[host] = append(private[host], rule.HTTP.Paths...)
				if rule.Visibility != v1alpha1.IngressVisibilityClusterLocal {
					public[host] = append(public[host], rule.HTTP.Paths...)
				}
			}
		}
		ours = append(ours, i)
	}
	g.public.Store(&public)
	g.private.Store(&private)
	var errs []error
	for _, i := range ours {
		errs = append(errs, g.mark(ctx, i))
	}
	return errors.Join(errs...)
}

func (g *ingress) mark(ctx context.Context, i *v1alpha1.Ingress) error {
	at := func(name string) []v1alpha1.LoadBalancerIngressStatus {
		return []v1alpha1.LoadBalancerIngressStatus{{DomainInternal: name + ".kourier-system.svc.cluster.local"}}
	}
	ready := i.DeepCopy()
	ready.Status.InitializeConditions()
	ready.Status.MarkNetworkConfigured()
	ready.Status.MarkLoadBalancerReady(at("ingress"), at("ingress-internal"))
	ready.Status.ObservedGeneration = i.Generation
	if equality.Semantic.DeepEqual(ready.Status, i.Status) {
		return nil
	}
	_, err := g.client.NetworkingV1alpha1().Ingresses(i.Namespace).UpdateStatus(ctx, ready, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
