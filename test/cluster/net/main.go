// Command net is what a node's network needs beside kube-proxy, as far as this
// cluster uses it:
//
//	net dns      names of Services, as pods ask for them
//	net ingress  Knative's ingress: hosts to revisions, by Knative's Ingress objects
//	net policy   NetworkPolicies as nftables rules of the node
//
// Kourier and its Envoy are no Go modules. Nothing here is meant for another use.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	run := map[string]func(context.Context, *rest.Config, kubernetes.Interface) error{"dns": serveNames, "ingress": serveIngress, "policy": enforcePolicies}
	if len(os.Args) != 2 || run[os.Args[1]] == nil {
		log.Fatal("net: want dns, ingress or policy")
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG")) // in a pod: its ServiceAccount
	if err != nil {
		log.Fatal("net: ", err)
	}
	config.QPS, config.Burst = 100, 200
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		log.Fatal("net: ", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run[os.Args[1]](ctx, config, client); err != nil && ctx.Err() == nil {
		log.Fatalf("net: %s: %v", os.Args[1], err)
	}
}

// changes tells that something has changed since it was last asked; many
// changes are told once.
type changes chan struct{}

func newChanges() changes { return make(changes, 1) }

func (c changes) tell() {
	select {
	case c <- struct{}{}:
	default:
	}
}

// watch tells of every change that the informers see.
func (c changes) watch(informers ...cache.SharedIndexInformer) error {
	for _, i := range informers {
		_, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { c.tell() }, UpdateFunc: func(any, any) { c.tell() }, DeleteFunc: func(any) { c.tell() }})
		if err != nil {
			return err
		}
	}
	return nil
}
