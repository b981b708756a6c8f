package event

// AsyncAPI returns the event catalogue as an AsyncAPI 3.0 document, ready to be marshalled: a
// channel for each type, with its senders and receivers and the JSON Schema of its data. It is
// generated from the same types as the parser and the schemas.
func AsyncAPI() map[string]any {
	channels, operations, messages := map[string]any{}, map[string]any{}, map[string]any{}
	for _, i := range Types() {
		channels[i.Type] = i.channel()
		messages[i.Type] = i.message()
		for _, action := range i.actions() {
			operations[action+"."+i.Type] = i.operation(action)
		}
	}
	return map[string]any{
		"asyncapi": "3.0.0",
		"info": map[string]any{
			"title": "Pitboss", "version": "1.0.0",
			"license": map[string]any{"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
			"description": "CloudEvents 1.0 over HTTP. Platforms send to ingest or to the Broker; consuming teams receive what the Triggers they " +
				"apply match. Operations are Pitboss's: what it receives, platforms send. The headers are those of binary mode; structured mode is understood too, and batches by ingest.",
		},
		"defaultContentType": "application/json",
		"servers": map[string]any{
			"ingest": map[string]any{"host": "pitboss-ingest", "protocol": "http", "description": "For senders outside the cluster: answers what is wrong at once."},
			"broker": map[string]any{"host": "broker-ingress.knative-eventing.svc.cluster.local", "pathname": "/default/pitboss", "protocol": "http",
				"description": "Knative's Broker. What is wrong becomes a dead letter."},
		},
		"channels": channels, "operations": operations,
		"components": map[string]any{"messages": messages, "schemas": map[string]any{"cloudEvent": attributesSchema()}},
	}
}

func ref(pointer string) map[string]any { return map[string]any{"$ref": "#/" + pointer} }

func (i *Info) channel() map[string]any {
	servers := []any{ref("servers/broker")}
	if i.Direction == In {
		servers = append(servers, ref("servers/ingest"))
	}
	return map[string]any{
		"address": "/", "title": i.Type, "description": i.Doc, "servers": servers,
		"messages":    map[string]any{i.Type: ref("components/messages/" + i.Type)},
		"x-direction": string(i.Direction),
	}
}

// actions returns whether Pitboss receives or sends a type, or both.
func (i *Info) actions() []string {
	switch i.Direction {
	case In:
		return []string{"receive"}
	case Out:
		return []string{"send"}
	}
	return []string{"receive", "send"}
}

func (i *Info) operation(action string) map[string]any {
	return map[string]any{
		"action": action, "title": i.Type, "summary": i.Doc,
		"channel":  ref("channels/" + i.Type),
		"messages": []any{ref("channels/" + i.Type + "/messages/" + i.Type)},
		"bindings": map[string]any{"http": map[string]any{"method": "POST", "bindingVersion": "0.3.0"}},
	}
}

func (i *Info) message() map[string]any {
	schema := i.Schema()
	delete(schema, "$id")
	schema["$schema"] = "http://json-schema.org/draft-07/schema#" // the keywords in use have the same meaning there
	return map[string]any{
		"name": i.Type, "title": i.Type, "summary": i.Doc, "contentType": "application/json",
		"headers": map[string]any{"allOf": []any{ref("components/schemas/cloudEvent"),
			map[string]any{"type": "object", "properties": map[string]any{"ce-type": map[string]any{"const": i.Type}}}}},
		"payload": map[string]any{"schemaFormat": "application/schema+json;version=draft-07", "schema": schema},
	}
}

// attributesSchema returns the schema of the headers in binary mode. They are percent-encoded,
// so that it can't express everything that the parser checks.
func attributesSchema() map[string]any {
	text := func(doc string) map[string]any {
		return map[string]any{"type": "string", "minLength": 1, "description": doc}
	}
	id := func(doc string) map[string]any {
		s := text(doc + "; percent-encoded; at most 256 bytes")
		s["pattern"] = `^[!-~]+$`
		return s
	}
	when := text("when it happened (event time)")
	when["format"], when["pattern"] = "date-time", timePattern
	return map[string]any{
		"type": "object", "required": []string{"ce-specversion", "ce-id", "ce-source", "ce-type", "ce-subject", "ce-time"},
		"properties": map[string]any{
			"ce-specversion": map[string]any{"const": "1.0"},
			"ce-id":          id("the event's identity, with the source"), "ce-source": id("who sent it, a URI reference"),
			"ce-type": text("the type"), "ce-subject": id("the player's id"), "ce-time": when,
			"ce-dataschema": text("the address of the data's JSON Schema"), "ce-partitionkey": text("the player's id; ingest sets it"),
			"ce-receivedtime": text("when Pitboss first saw the platform's event"), "ce-traceparent": text("W3C Trace Context"),
		},
	}
}
