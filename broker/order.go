package broker

import "sync"

// orderAnnotation on a Trigger asks for delivery in order per partition key.
// It is the Kafka Broker's own annotation, so one manifest serves both.
const orderAnnotation = "kafka.eventing.knative.dev/delivery.order"

// lines are the queues of an ordered Trigger, one per key that has an event
// under way: the next event of a key waits until the one before it was
// delivered or is a dead letter. Other keys are not held up.
type lines struct {
	mu      sync.Mutex
	waiting map[string][]*delivery // a key is present while one of its events is under way
}

// join reports whether d may go at once; otherwise it waits for next.
func (l *lines) join(key string, d *delivery) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue, busy := l.waiting[key]
	if busy {
		l.waiting[key] = append(queue, d)
		return false
	}
	l.waiting[key] = nil
	return true
}

// next returns the delivery that waited longest for key, or nil when none does.
func (l *lines) next(key string) *delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue := l.waiting[key]
	if len(queue) == 0 {
		delete(l.waiting, key)
		return nil
	}
	l.waiting[key] = queue[1:]
	return queue[0]
}

// orderKey is the partitionkey of a record, its subject where it has none, or
// its id, so that events without either are not ordered.
func orderKey(record []byte) string {
	e, _, err := readRecord(record)
	if err != nil {
		return ""
	}
	if key, ok := e.Extensions()["partitionkey"].(string); ok {
		return key
	}
	if e.Subject() != "" {
		return e.Subject()
	}
	return e.ID()
}
