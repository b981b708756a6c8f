// Package spec reads the manifests of Brokers and Triggers for the one-machine
// Broker, as strictly as a cluster does.
//
// It has its own types for the few fields used here. Knative's types depend on
// Kubernetes' client and API: 600 packages, half of the first build of `make run`.
// broker/manifest, a tool for developers, reads the same files with Knative's types.
// A test compares the two packages on random manifests.
package spec

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	cesql "github.com/cloudevents/sdk-go/sql/v2/parser"
	"github.com/rickb777/date/period"
)

// Broker is a Broker's manifest.
type Broker struct {
	Meta
	Spec struct {
		Config   any       `json:"config,omitempty"` // for a cluster's Broker class; unused here
		Delivery *Delivery `json:"delivery,omitempty"`
	} `json:"spec"`
	Status any `json:"status,omitempty"`
}

// Trigger is a Trigger's manifest.
type Trigger struct {
	File string `json:"-"`
	Meta
	Spec struct {
		Broker    string  `json:"broker,omitempty"`
		BrokerRef any     `json:"brokerRef,omitempty"` // refused, because it needs a cluster
		Filter    *Exact  `json:"filter,omitempty"`
		Filters   Filters `json:"filters,omitempty"`

		Subscriber Destination `json:"subscriber"`
		Delivery   *Delivery   `json:"delivery,omitempty"`
	} `json:"spec"`
	Status any `json:"status,omitempty"`
}

// Meta holds the fields common to all objects.
type Meta struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace,omitempty"`
		Labels      map[string]string `json:"labels,omitempty"`
		Annotations map[string]string `json:"annotations,omitempty"`
	} `json:"metadata"`
}

// Exact is spec.filter: each attribute must have this value; "" stands for any value.
type Exact struct {
	Attributes map[string]string `json:"attributes,omitempty"`
}

// Filters passes an event if every filter passes it.
type Filters []Filter

// Filter is one of spec.filters, in one dialect of Knative's subscriptions API.
type Filter struct {
	All    Filters           `json:"all,omitempty"`
	Any    Filters           `json:"any,omitempty"`
	Not    *Filter           `json:"not,omitempty"`
	Exact  map[string]string `json:"exact,omitempty"`
	Prefix map[string]string `json:"prefix,omitempty"`
	Suffix map[string]string `json:"suffix,omitempty"`
	CESQL  string            `json:"cesql,omitempty"`
}

// Destination is a Service by reference, or a URI.
type Destination struct {
	Ref *struct {
		APIVersion string `json:"apiVersion,omitempty"`
		Kind       string `json:"kind"`
		Name       string `json:"name"`
		Namespace  string `json:"namespace,omitempty"`
	} `json:"ref,omitempty"`
	URI *string `json:"uri,omitempty"`
}

// Delivery is a delivery spec.
type Delivery struct {
	DeadLetterSink *Destination `json:"deadLetterSink,omitempty"`
	Retry          *int32       `json:"retry,omitempty"`
	BackoffPolicy  *string      `json:"backoffPolicy,omitempty"` // linear or exponential
	BackoffDelay   *string      `json:"backoffDelay,omitempty"`
	Format         *string      `json:"format,omitempty"` // binary or json
	// Knative refuses the next two unless a feature flag of the cluster allows them.
	Timeout       *string `json:"timeout,omitempty"`
	RetryAfterMax *string `json:"retryAfterMax,omitempty"`
}

// Version is the API version of Brokers and Triggers.
const Version = "eventing.knative.dev/v1"

// ReadBroker reads the Broker in file, which must hold exactly one.
func ReadBroker(file string) (*Broker, error) {
	doc, err := BrokerIn(file)
	if err != nil {
		return nil, err
	}
	b := &Broker{}
	if err := decode(file, doc, b); err != nil {
		return nil, err
	}
	if b.Spec.Delivery == nil { // the defaults of Knative's config-br-defaults
		retry, policy, delay := int32(10), "exponential", "PT0.2S"
		b.Spec.Delivery = &Delivery{Retry: &retry, BackoffPolicy: &policy, BackoffDelay: &delay}
	}
	c := &checker{file: file}
	c.delivery("spec.delivery", b.Spec.Delivery)
	return b, c.ps.Err()
}

// ReadTriggers reads the Triggers of the Broker called broker, as [EachTrigger] does.
func ReadTriggers(broker string, dirs ...string) (out []*Trigger, err error) {
	err = EachTrigger(dirs, func(file string, doc Document) error {
		t, err := readTrigger(file, doc, broker)
		if err == nil {
			out = append(out, t)
		}
		return err
	})
	return out, err
}

func readTrigger(file string, doc Document, broker string) (*Trigger, error) {
	t := &Trigger{File: file}
	if err := decode(file, doc, t); err != nil {
		return nil, err
	}
	if t.Spec.Broker != broker || t.Spec.BrokerRef != nil {
		return nil, OtherBroker(file, t.Spec.Broker, broker)
	}
	c := &checker{file: file}
	if t.Spec.Filter != nil {
		c.names("spec.filter.attributes", t.Spec.Filter.Attributes)
	}
	c.filters("spec.filters", t.Spec.Filters)
	c.destination("spec.subscriber", &t.Spec.Subscriber)
	c.delivery("spec.delivery", t.Spec.Delivery)
	return t, c.ps.Err()
}

func decode(file string, doc Document, into any) error {
	if err := Unmarshal(doc.Text, into); err != nil {
		return Undecodable(file, doc.Text, into, err, "docs/broker.md says what the one-machine Broker reads")
	}
	switch {
	case doc.APIVersion != Version:
		return &Problem{File: file, Where: "apiVersion", Detail: fmt.Sprintf("is %q", doc.APIVersion), Remedy: "apiVersion: " + Version}
	case doc.Name == "":
		return &Problem{File: file, Where: "metadata.name", Detail: "is missing"}
	}
	return nil
}

// checker collects the problems of a file.
type checker struct {
	file string
	ps   Problems
}

func (c *checker) refuse(field, format string, args ...any) {
	c.ps = append(c.ps, &Problem{File: c.file, Where: field, Detail: fmt.Sprintf(format, args...)})
}

func (c *checker) delivery(field string, d *Delivery) {
	if d == nil {
		return
	}
	if d.DeadLetterSink != nil {
		c.destination(field+".deadLetterSink", d.DeadLetterSink)
	}
	if d.Retry != nil && *d.Retry < 0 {
		c.refuse(field+".retry", "invalid value: %d", *d.Retry)
	}
	if p := d.BackoffPolicy; p != nil && *p != "linear" && *p != "exponential" {
		c.refuse(field+".backoffPolicy", "invalid value: %s: want linear or exponential", *p)
	}
	if d.BackoffDelay != nil {
		if _, err := period.Parse(*d.BackoffDelay); err != nil {
			c.refuse(field+".backoffDelay", "invalid value: %s: want an ISO 8601 duration, e.g. PT0.2S", *d.BackoffDelay)
		}
	}
	if f := d.Format; f != nil && *f != "binary" && *f != "json" {
		c.refuse(field+".format", "invalid value: %s: want binary or json", *f)
	}
	for name, v := range map[string]*string{"timeout": d.Timeout, "retryAfterMax": d.RetryAfterMax} {
		if v != nil {
			c.refuse(field+"."+name, "must not set the field(s): Knative disables this feature by default")
		}
	}
}

func (c *checker) destination(field string, d *Destination) {
	var uri *url.URL
	if d.URI != nil {
		u, err := url.Parse(*d.URI)
		if err != nil {
			c.refuse(field+".uri", "%s", err)
			return
		}
		uri = u
	}
	switch {
	case d.Ref == nil && uri == nil:
		c.refuse(field, "expected at least one of ref and uri, got none")
	case d.Ref != nil && uri != nil && uri.IsAbs():
		c.refuse(field, "an absolute uri is not allowed beside ref")
	case d.Ref == nil && (!uri.IsAbs() || uri.Host == ""):
		c.refuse(field+".uri", "invalid value: %s: without ref it must be absolute", *d.URI)
	case d.Ref != nil && uri == nil && (d.Ref.Name == "" || d.Ref.Kind == "" || d.Ref.APIVersion == ""):
		c.refuse(field+".ref", "apiVersion, kind and name must be set")
	}
}

var attributeName = regexp.MustCompile(`^[a-z][a-z0-9]*$`)

func (c *checker) names(field string, attributes map[string]string) {
	for name := range attributes {
		if !attributeName.MatchString(name) {
			c.refuse(field+"."+name, "invalid name: lower-case letters and digits, a letter first")
		}
	}
}

func (c *checker) filters(field string, filters Filters) {
	for i := range filters {
		c.filter(fmt.Sprintf("%s[%d]", field, i), &filters[i])
	}
}

func (c *checker) filter(field string, f *Filter) {
	dialects := 0
	for _, set := range []bool{len(f.Exact) > 0, len(f.Prefix) > 0, len(f.Suffix) > 0, len(f.All) > 0, len(f.Any) > 0, f.Not != nil, f.CESQL != ""} {
		if set {
			dialects++
		}
	}
	if dialects > 1 {
		c.refuse(field, "multiple dialects found, filters can have only one dialect set")
	}
	c.names(field+".exact", f.Exact)
	c.names(field+".prefix", f.Prefix)
	c.names(field+".suffix", f.Suffix)
	c.filters(field+".all", f.All)
	c.filters(field+".any", f.Any)
	if f.Not != nil {
		c.filter(field+".not", f.Not)
	}
	if err := parses(f.CESQL); err != nil {
		c.refuse(field+".cesql", "invalid value: %s: %s", f.CESQL, strings.TrimSpace(err.Error()))
	}
}

// parses returns the error of a CESQL expression. The parser panics on some
// expressions, hence the recover.
func parses(expression string) (err error) {
	if expression == "" {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%v", v)
		}
	}()
	_, err = cesql.Parse(expression)
	return err
}
