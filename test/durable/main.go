// Command durable prints what Knative's RabbitMQ Broker controller would create for
// Brokers and their Triggers: RabbitMQ's exchanges, queues, bindings and policies, and
// the processes with their environment. It calls the controller's own constructors
// (knative.dev/eventing-rabbitmq), so names, filters and environment equal those in
// a cluster.
//
//	durable -amqp URL -ingress BROKER=URL... -service NAME=URL... < manifests
//
// It reads the output of `kubectl kustomize broker/rabbitmq` and writes one JSON
// document, from which `drill durable` starts everything.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
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

// plan is the document that durable writes.
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
	Broker string            `json:"broker"`
	Env    map[string]string `json:"env"`
}

// cluster has the objects and addresses that the controller would look up.
type cluster struct {
	amqp      string               // from the Secret that the Deployments refer to
	addresses map[string]*apis.URL // of Brokers' ingresses and Knative Services, by kind and name
	brokers   []*eventingv1.Broker
	config    *rabbitconfig.RabbitmqBrokerConfig
	triggers  []*eventingv1.Trigger
}

func main() {
	c := cluster{addresses: map[string]*apis.URL{}}
	flag.StringVar(&c.amqp, "amqp", "", "RabbitMQ's `URL`")
	flag.Func("ingress", "the address of a Broker's ingress, `BROKER=URL`; once for each", c.address("Broker"))
	flag.Func("service", "a Knative Service's address, `NAME=URL`; once for each", c.address("Service"))
	flag.Parse()
	os.Setenv("SYSTEM_NAMESPACE", "knative-eventing") // where the controller would run
	if err := c.run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "durable:", err)
		os.Exit(1)
	}
}

// address reads a flag's NAME=URL for an object of the kind.
func (c *cluster) address(kind string) func(string) error {
	return func(s string) (err error) {
		name, url, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("want NAME=URL")
		}
		c.addresses[kind+"/"+name], err = apis.ParseURL(url)
		return err
	}
}

func (c *cluster) run(in io.Reader, out io.Writer) error {
	text, err := io.ReadAll(in)
	if err != nil {
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

// read takes the Brokers, their configuration and the Triggers from manifests.
func (c *cluster) read(manifests string) error {
	for _, doc := range strings.Split("\n"+manifests, "\n---") {
		var head struct{ Kind string }
		if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
			return err
		}
		var into any
		switch head.Kind {
		case "Broker":
			b := &eventingv1.Broker{}
			c.brokers = append(c.brokers, b)
			into = b
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
	if len(c.brokers) == 0 || c.config == nil {
		return errors.New("the manifests have no Broker with a RabbitmqBrokerConfig")
	}
	for _, b := range c.brokers {
		if b.Annotations["eventing.knative.dev/broker.class"] != "RabbitMQBroker" || b.Spec.Config == nil || b.Spec.Config.Name != c.config.Name {
			return fmt.Errorf("broker %s is not of class RabbitMQBroker with the configuration %s", b.Name, c.config.Name)
		}
		b.Namespace, b.UID = "default", uid(b.Name)
	}
	for _, t := range c.triggers {
		t.Namespace, t.UID = "default", uid(t.Name)
	}
	return nil
}

// uid replaces the UID that the API server would assign.
func uid(name string) types.UID { return types.UID(uuid.NewSHA1(uuid.Nil, []byte(name)).String()) }

// plan takes the steps of ReconcileKind in the reconcilers of Broker and Trigger.
func (c *cluster) plan() (*plan, error) {
	p := &plan{}
	for _, b := range c.brokers {
		p.exchange(&rabbit.ExchangeArgs{Name: naming.BrokerExchangeName(b, false), Broker: b})
		if err := c.brokerDeadLetters(p, b); err != nil {
			return nil, fmt.Errorf("broker %s: %w", b.Name, err)
		}
		p.add(c, "ingress", b, brokerresources.MakeIngressDeployment(&brokerresources.IngressArgs{Broker: b}))
	}
	for _, t := range c.triggers {
		i := slices.IndexFunc(c.brokers, func(b *eventingv1.Broker) bool { return b.Name == t.Spec.Broker })
		if i < 0 {
			return nil, fmt.Errorf("trigger %s: no Broker %s", t.Name, t.Spec.Broker)
		}
		if err := c.trigger(p, c.brokers[i], t); err != nil {
			return nil, fmt.Errorf("trigger %s: %w", t.Name, err)
		}
	}
	return p, nil
}

// ingress is the address of a Broker's ingress.
func (c *cluster) ingress(b *eventingv1.Broker) *apis.URL { return c.addresses["Broker/"+b.Name] }

func (c *cluster) brokerDeadLetters(p *plan, b *eventingv1.Broker) error {
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
	p.add(c, "dispatcher", b, brokerresources.MakeDispatcherDeployment(&brokerresources.DispatcherArgs{Broker: b, Delivery: b.Spec.Delivery,
		QueueName: queue, BrokerIngressURL: c.ingress(b), Subscriber: sink, DLX: true}))
	return nil
}

func (c *cluster) trigger(p *plan, b *eventingv1.Broker, t *eventingv1.Trigger) error {
	queue := &rabbit.QueueArgs{Name: naming.CreateTriggerQueueName(t), QueueName: naming.CreateTriggerQueueRabbitName(t, string(b.UID)),
		QueueType: c.config.Spec.QueueType}
	p.queue(queue)
	dlx := ""
	delivery := t.Spec.Delivery
	switch {
	case delivery == nil:
		delivery, dlx = b.Spec.Delivery, naming.BrokerExchangeName(b, true)
	case delivery.DeadLetterSink != nil:
		dlx = naming.TriggerDLXExchangeName(t)
		if err := c.triggerDeadLetters(p, b, t, dlx); err != nil {
			return err
		}
		queue.DLXName = &dlx
		p.Policies = append(p.Policies, rabbit.NewPolicy(withCluster(queue)).Spec)
	}
	filters := map[string]string{rabbit.BindingKey: t.Name}
	if t.Spec.Filter != nil {
		maps.Copy(filters, t.Spec.Filter.Attributes)
	}
	if err := p.bind(&rabbit.BindingArgs{Source: naming.BrokerExchangeName(b, false), Destination: queue.QueueName, Filters: filters}); err != nil {
		return err
	}
	subscriber, err := c.resolve(&t.Spec.Subscriber)
	if err != nil {
		return err
	}
	p.add(c, "dispatcher", b, triggerresources.MakeDispatcherDeployment(&triggerresources.DispatcherArgs{Trigger: t,
		Delivery: delivery, QueueName: queue.QueueName, BrokerIngressURL: c.ingress(b), Subscriber: subscriber, DLXName: dlx}))
	return nil
}

func (c *cluster) triggerDeadLetters(p *plan, b *eventingv1.Broker, t *eventingv1.Trigger, dlx string) error {
	queue := naming.CreateTriggerDeadLetterQueueName(t)
	p.exchange(&rabbit.ExchangeArgs{Name: dlx, Broker: b, Trigger: t})
	p.queue(&rabbit.QueueArgs{Name: queue, QueueType: c.config.Spec.QueueType})
	if err := p.bind(&rabbit.BindingArgs{Source: dlx, Destination: queue}); err != nil {
		return err
	}
	sink, err := c.resolve(t.Spec.Delivery.DeadLetterSink)
	if err != nil {
		return err
	}
	p.add(c, "dispatcher", b, triggerresources.MakeDispatcherDeployment(&triggerresources.DispatcherArgs{Trigger: t,
		Delivery: t.Spec.Delivery, QueueName: queue, BrokerIngressURL: c.ingress(b), Subscriber: sink, DLX: true}))
	return nil
}

// resolve replaces the controller's URI resolver.
func (c *cluster) resolve(d *duckv1.Destination) (*duckv1.Addressable, error) {
	if d.Ref == nil {
		return &duckv1.Addressable{URL: d.URI}, nil
	}
	url := c.addresses[d.Ref.Kind+"/"+d.Ref.Name]
	if url == nil {
		return nil, fmt.Errorf("no address of %s %s: -service or -ingress", d.Ref.Kind, d.Ref.Name)
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

// add adds a Deployment's process with its environment. A value from the Secret is
// RabbitMQ's URL.
func (p *plan) add(c *cluster, binary string, b *eventingv1.Broker, d *appsv1.Deployment) {
	env := map[string]string{}
	for _, e := range d.Spec.Template.Spec.Containers[0].Env {
		env[e.Name] = e.Value
		if e.ValueFrom != nil {
			env[e.Name] = c.amqp
		}
	}
	p.Processes = append(p.Processes, process{Name: d.Name, Binary: binary, Broker: b.Name, Env: env})
}
