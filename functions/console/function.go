// Package console serves the live page. It shows which events come in, what is
// recommended to whom and why, and what a rule blocked, and it lets people make a
// few changes.
//
// Every CloudEvent in (POST /events) → counted exactly, the recent ones of
// each player kept in bounded memory → nothing out. Dead letters in (POST
// /deadletters) → kept. GET / is the page, /api/… its data, /api/stream the
// live frames a few times a second. The console never writes a player's state. It
// journals each change that a person makes, with the person's name. Erasures,
// reviews and kill switches are POSTed to the Broker through K_SINK.
//
// Errors: 400 for a request that is no CloudEvent (dead-lettered), 503 while it
// starts. Off loopback the page needs a role: see internal/access.
package console

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"pitboss/internal/access"
	"pitboss/internal/search"
	"pitboss/internal/setup"
	"pitboss/internal/sink"
)

const name = "console"

// config is read once, at Start.
type config struct {
	RedisURL    string        `env:"REDIS_URL"`
	ModelsDir   string        `env:"MODELS_DIR,default=models"`
	ServingFile string        `env:"SERVING_FILE"`     // default MODELS_DIR/serving.yaml
	Segments    string        `env:"PITBOSS_SEGMENTS"` // folder of the journal's segments, if it is mounted
	Sink        string        `env:"K_SINK"`           // the Broker; without it no change that takes an event is possible
	Admin       string        `env:"BROKER_ADMIN_URL"`
	Memory      int64         `env:"CONSOLE_MEMORY_BYTES,default=67108864"` // for players' timelines
	Decisions   int           `env:"CONSOLE_DECISIONS,default=5000"`        // kept in memory, the newest
	FrameEvery  time.Duration `env:"CONSOLE_FRAME_EVERY,default=250ms"`     // how often an open page gets a frame
	VaultKey    string        `env:"PITBOSS_VAULT_KEY_FILE"`                // seals what the law has us keep of erased players; default: a key in Redis
	Approvers   int           `env:"PITBOSS_APPROVERS,default=2"`           // how many people a change takes: 1 or 2
	// ProposalsFor is how long a proposal waits for a second person.
	ProposalsFor time.Duration `env:"CONSOLE_PROPOSALS_FOR,default=24h"`
	Access       access.Config
}

// Function is console. It answers 503 until Start has run.
type Function struct {
	*setup.Edge
	cfg config
	now func() time.Time

	flow        *flow
	players     *players
	decisions   *decisions
	deadLetters *deadLetters
	access      *access.Access
	hub         *hub
	broker      *brokerClient
	sink        *sink.Client
	store       *store
	audit       *audit
	said        sync.Map // the verdict of a review, by decision
	stopped     stopped
	index       *search.Index // of the journal; nil without Redis
	proposed    atomic.Int64  // how many proposals wait
	routes      http.Handler

	experiments *experiments
	health      *health
	cases       *cases
	queue       queue
	reads       reads
	report      report
	policies    *lru.Cache[string, map[string]rule] // rules by id, by the policy's hash
}

// New returns console, not yet started.
func New() *Function { return &Function{Edge: setup.NewEdge(name), now: time.Now} }

// Start reads the configuration and begins to watch the Broker's counters.
func (f *Function) Start(ctx context.Context, cfg map[string]string) error {
	return f.Open(ctx, cfg, &f.cfg, f.start)
}

func (f *Function) start(ctx context.Context) (err error) {
	if f.access, err = access.New(f.cfg.Access, writeTrouble, f.Log, f.now); err != nil {
		return err
	}
	f.flow = newFlow(f.now)
	f.health = newHealth()
	f.players = newPlayers(f.cfg.Memory)
	f.decisions = newDecisions(f.cfg.Decisions)
	f.broker = newBrokerClient(f.cfg.Admin)
	if f.store, err = openStore(ctx, f.cfg, f.Log); err != nil {
		return err
	}
	f.AtEnd(f.store.close)
	if f.store.journal != nil {
		f.index = search.New(f.store.journal, f.store.segments)
		f.AtEnd(f.index.Close)
		f.Go(func(ctx context.Context) { f.index.Run(ctx, f.Log) })
	}
	if f.policies, err = lru.New[string, map[string]rule](16); err != nil {
		return err
	}
	f.experiments = newExperiments()
	f.deadLetters = newDeadLetters(f.broker, f.store)
	f.cases = newCases(f.store)
	if err = f.startProposals(ctx); err != nil {
		return err
	}
	f.audit = newAudit(f.store.journal, f.Log, f.now)
	if f.cfg.Sink != "" {
		f.sink = sink.New(f.cfg.Sink, 5*time.Second, 4)
		f.AtEnd(func() error { f.sink.Close(); return nil })
	}
	f.hub = newHub(f.cfg.FrameEvery, f.frame)
	f.routes = f.mux()
	withdraw := f.publish()
	f.AtEnd(func() error { withdraw(); return nil })
	f.Go(f.hub.run)
	f.Go(func(ctx context.Context) { f.stopped.watch(ctx, time.Second, f.switches) })
	if f.store.journal != nil {
		f.Follow(time.Second, "approved changes are not carried out", f.takeProposals)
		f.Follow(queueEvery, "the count of decisions that wait for review is out of date", f.readQueue)
	}
	f.Go(func(ctx context.Context) { f.deadLetters.watch(ctx, time.Second, f.now, f.Log) })
	f.Go(func(ctx context.Context) { f.broker.watch(ctx, time.Second) })
	return nil
}

// Handle serves one request.
func (f *Function) Handle(w http.ResponseWriter, r *http.Request) {
	if !f.Started() {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "console: starting", http.StatusServiceUnavailable)
		return
	}
	f.routes.ServeHTTP(w, r)
}

// mux routes requests. The Broker POSTs from inside the cluster, where the Service
// has its only address. Every request of a browser is checked.
func (f *Function) mux() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("POST /events", f.receive)
	m.HandleFunc("POST /deadletters", f.receiveDeadLetter)
	m.Handle("/api/", f.api())
	m.HandleFunc("GET "+access.SignInPath, f.access.ToProvider)
	m.HandleFunc("GET "+access.CallbackPath, f.access.FromProvider)
	m.Handle("/", page())
	protect := http.NewCrossOriginProtection()
	if origin := f.access.Origin(); origin != "" { // a gateway may have changed the request's Host
		_ = protect.AddTrustedOrigin(origin)
	}
	return secure(compressed(protect.Handler(m)))
}

// secure sets the headers that every answer carries. Scripts and styles come only
// from this origin's files, none is inlined, and no site may frame the page.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
			"connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		next.ServeHTTP(w, r)
	})
}
