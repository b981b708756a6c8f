// Command durable says what Knative's RabbitMQ Broker controller would create
// for a Broker and its Triggers: exchanges, queues, bindings and policies of
// RabbitMQ, and the processes with their environment. It uses the
// controller's own constructors (knative.dev/eventing-rabbitmq), so names,
// filters and environment are those of a cluster.
//
//	durable -amqp URL -ingress URL -service NAME=URL... < manifests
//
// The manifests are what `kubectl kustomize broker/rabbitmq` prints; the answer
// is one JSON document. drill durable carries it out.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	"github.com/google/uuid"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/types"
	rabbitconfig "knative.dev/eventing-rabbitmq/pkg/apis/eventing/v1alpha1"
	"knative.dev/eventing-rabbitmq/pkg/rabbit"
	naming "knative.dev/eventing-rabbitmq/pkg/rabbitmqnaming"
	brokerresources "knative.dev/eventing-rabbitmq/pkg/reconciler/broker/resources"
	triggerresources "knative.dev/eventing-rabbitmq/pkg/reconciler/trigger/resources"
	topology "knative.dev/eventing-rabbitmq/third_party/pkg/apis/rabbitmq.com/v1beta1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"sigs.k8s.io/yaml"
)

// plan is the answer.
type plan struct {
	Exchanges []topology.ExchangeSpec `json:"exchanges"`
	Queues    []topology.QueueSpec    `json:"queues"`
	Bindings  []topology.BindingSpec  `json:"bindings"`
	Policies  []topology.PolicySpec   `json:"policies"`
	Processes []process               `json:"processes"`
}

// process is one Deployment with one replica.
type process struct {
	Name   string            `json:"name"`
	Binary string            `json:"binary"` // ingress | dispatcher
	Env    map[string]string `json:"env"`
}

// cluster is what the controller would look up.
type cluster struct {
	amqp     string // in the Secret that the Deployments refer to
	ingress  *apis.URL
	services map[string]string // address of each Knative Service
	broker   *eventingv1.Broker
	config   *rabbitconfig.RabbitmqBrokerConfig
	triggers []*eventingv1.Trigger
}

func main() {
	c := cluster{services: map[string]string{}}
	flag.StringVar(&c.amqp, "amqp", "", "RabbitMQ's `URL`")
	ingress := flag.String("ingress", "", "the Broker ingress's `URL`")
	flag.Func("service", "a Knative Service's address, `NAME=URL`; once for each", func(s string) error {
		name, url, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("want NAME=URL")
		}
		c.services[name] = url
		return nil
	})
	flag.Parse()
	os.Setenv("SYSTEM_NAMESPACE", "knative-eventing") // where the controller would run
	if err := c.run(*ingress, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "durable:", err)
		os.Exit(1)
	}
}

func (c *cluster) run(ingress string, in io.Reader, out io.Writer) error {
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	if c.ingress, err = apis.ParseURL(ingress); err != nil {
		return err
	}
	if err := c.read(string(text)); err != nil {
		return err
	}
	p, err := c.plan()
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(p)
}

// read takes Broker, its configuration and the Triggers from manifests.
func (c *cluster) read(manifests string) error {
	for _, doc := range strings.Split("\n"+manifests, "\n---") {
		var head struct{ Kind string }
		if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
			return err
		}
		var into any
		switch head.Kind {
		case "Broker":
			c.broker = &eventingv1.Broker{}
			into = c.broker
		case "RabbitmqBrokerConfig":
			c.config = &rabbitconfig.RabbitmqBrokerConfig{}
			into = c.config
		case "Trigger":
			t := &eventingv1.Trigger{}
			c.triggers = append(c.triggers, t)
			into = t
		default:
			continue
		}
		if err := yaml.UnmarshalStrict([]byte(doc), into); err != nil {
			return fmt.Errorf("%s: %w", head.Kind, err)
		}
	}
	if c.broker == nil || c.config == nil || c.broker.Annotations["eventing.knative.dev/broker.class"] != "RabbitMQBroker" {
		return errors.New("the manifests have no Broker of class RabbitMQBroker with its RabbitmqBrokerConfig")
	}
	c.broker.Namespace, c.broker.UID = "default", uid(c.broker.Name)
	for _, t := range c.triggers {
		t.Namespace, t.UID = "default", uid(t.Name)
	}
	return nil
}

// uid stands for what the API server gives out.
func uid(name string) types.UID { return types.UID(uuid.NewSHA1(uuid.Nil, []byte(name)).String()) }

// plan follows ReconcileKind of the Broker's and the Trigger's reconcilers.
func (c *cluster) plan() (*plan, error) {
	p := &plan{}
	p.exchange(&rabbit.ExchangeArgs{Name: naming.BrokerExchangeName(c.broker, false), Broker: c.broker})
	if err := c.brokerDeadLetters(p); err != nil {
		return nil, err
	}
	p.add(c, "ingress", brokerresources.MakeIngressDeployment(&brokerresources.IngressArgs{Broker: c.broker}))
	for _, t := range c.triggers {
		if err := c.trigger(p, t); err != nil {
			return nil, fmt.Errorf("trigger %s: %w", t.Name, err)
		}
	}
	return p, nil
}

func (c *cluster) brokerDeadLetters(p *plan) error {
	b := c.broker
	if b.Spec.Delivery == nil || b.Spec.Delivery.DeadLetterSink == nil {
		return nil
	}
	dlx, queue := naming.BrokerExchangeName(b, true), naming.CreateBrokerDeadLetterQueueName(b)
	p.exchange(&rabbit.ExchangeArgs{Name: dlx, Broker: b})
	args := &rabbit.QueueArgs{Name: queue, QueueType: c.config.Spec.QueueType, DLXName: &dlx, BrokerUID: string(b.UID)}
	p.queue(args)
	if err := p.bind(&rabbit.BindingArgs{Source: dlx, Destination: queue, Filters: map[string]string{rabbit.DLQBindingKey: b.Name}}); err != nil {
		return err
	}
	policy := rabbit.NewBrokerDLXPolicy(withCluster(args))
	p.Policies = append(p.Policies, policy.Spec)
	sink, err := c.resolve(b.Spec.Delivery.DeadLetterSink)
	if err != nil {
		return err
	}
	p.add(c, "dispatcher", brokerresources.MakeDispatcherDeployment(&brokerresources.DispatcherArgs{Broker: b, Delivery: b.Spec.Delivery,
		QueueName: queue, BrokerIngressURL: c.ingress, Subscriber: sink, DLX: true}))
	return nil
}

func (c *cluster) trigger(p *plan, t *eventingv1.Trigger) error {
	queue := &rabbit.QueueArgs{Name: naming.CreateTriggerQueueName(t), QueueName: naming.CreateTriggerQueueRabbitName(t, string(c.broker.UID)),
		QueueType: c.config.Spec.QueueType}
	p.queue(queue)
	dlx := ""
	delivery := t.Spec.Delivery
	switch {
	case delivery == nil:
		delivery, dlx = c.broker.Spec.Delivery, naming.BrokerExchangeName(c.broker, true)
	case delivery.DeadLetterSink != nil:
		dlx = naming.TriggerDLXExchangeName(t)
		if err := c.triggerDeadLetters(p, t, dlx); err != nil {
			return err
		}
		queue.DLXName = &dlx
		p.Policies = append(p.Policies, rabbit.NewPolicy(withCluster(queue)).Spec)
	}
	filters := map[string]string{rabbit.BindingKey: t.Name}
	if t.Spec.Filter != nil {
		maps.Copy(filters, t.Spec.Filter.Attributes)
	}
	if err := p.bind(&rabbit.BindingArgs{Source: naming.BrokerExchangeName(c.broker, false), Destination: queue.QueueName, Filters: filters}); err != nil {
		return err
	}
	subscriber, err := c.resolve(&t.Spec.Subscriber)
	if err != nil {
		return err
	}
	p.add(c, "dispatcher", triggerresources.MakeDispatcherDeployment(&triggerresources.DispatcherArgs{Trigger: t,
		Delivery: delivery, QueueName: queue.QueueName, BrokerIngressURL: c.ingress, Subscriber: subscriber, DLXName: dlx}))
	return nil
}

func (c *cluster) triggerDeadLetters(p *plan, t *eventingv1.Trigger, dlx string) error {
	queue := naming.CreateTriggerDeadLetterQueueName(t)
	p.exchange(&rabbit.ExchangeArgs{Name: dlx, Broker: c.broker, Trigger: t})
	p.queue(&rabbit.QueueArgs{Name: queue, QueueType: c.config.Spec.QueueType})
	if err := p.bind(&rabbit.BindingArgs{Source: dlx, Destination: queue}); err != nil {
		return err
	}
	sink, err := c.resolve(t.Spec.Delivery.DeadLetterSink)
	if err != nil {
		return err
	}
	p.add(c, "dispatcher", triggerresources.MakeDispatcherDeployment(&triggerresources.DispatcherArgs{Trigger: t,
		Delivery: t.Spec.Delivery, QueueName: queue, BrokerIngressURL: c.ingress, Subscriber: sink, DLX: true}))
	return nil
}

// resolve is the controller's URI resolver.
func (c *cluster) resolve(d *duckv1.Destination) (*duckv1.Addressable, error) {
	if d.Ref == nil {
		return &duckv1.Addressable{URL: d.URI}, nil
	}
	url, err := apis.ParseURL(c.services[d.Ref.Name])
	if err != nil || url.IsEmpty() {
		return nil, fmt.Errorf("no -service for %s", d.Ref.Name)
	}
	if d.URI != nil {
		url = url.ResolveReference(d.URI)
	}
	return &duckv1.Addressable{URL: url}, nil
}

func (p *plan) exchange(args *rabbit.ExchangeArgs) {
	args.RabbitmqClusterReference = &topology.RabbitmqClusterReference{}
	p.Exchanges = append(p.Exchanges, rabbit.NewExchange(args).Spec)
}

func (p *plan) queue(args *rabbit.QueueArgs) {
	p.Queues = append(p.Queues, rabbit.NewQueue(withCluster(args)).Spec)
}

func withCluster(args *rabbit.QueueArgs) *rabbit.QueueArgs {
	args.RabbitmqClusterReference = &topology.RabbitmqClusterReference{}
	return args
}

func (p *plan) bind(args *rabbit.BindingArgs) error {
	args.RabbitmqClusterReference = &topology.RabbitmqClusterReference{}
	b, err := rabbit.NewBinding(args)
	if err != nil {
		return err
	}
	p.Bindings = append(p.Bindings, b.Spec)
	return nil
}

// add takes a Deployment's environment; what comes from the Secret is
// RabbitMQ's URL.
func (p *plan) add(c *cluster, binary string, d *appsv1.Deployment) {
	env := map[string]string{}
	for _, e := range d.Spec.Template.Spec.Containers[0].Env {
		env[e.Name] = e.Value
		if e.ValueFrom != nil {
			env[e.Name] = c.amqp
		}
	}
	p.Processes = append(p.Processes, process{Name: d.Name, Binary: binary, Env: env})
}
