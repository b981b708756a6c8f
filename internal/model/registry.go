package model

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"pitboss/internal/repeat"
)

// Config says where models are and how they are loaded.
type Config struct {
	Dir     string // folder of models, e.g. models
	Serving string // path of serving.yaml; "": Dir/serving.yaml
	LoadOptions
	Log *zap.Logger // nil: none
}

// Registry holds the serving lineup and replaces it when its files change. A model that
// does not load never replaces one that serves.
//
// Readers take the lineup without a lock (current); reloads are serialized by mu.
type Registry struct {
	conf    Config
	current atomic.Pointer[Lineup]

	mu       sync.Mutex // serializes reloads and protects the fields below
	loaded   map[string]loadedModel
	lastSeen fingerprint
	status   Status
}

// loadedModel is a model in the current lineup and the content it came from.
type loadedModel struct {
	model   *Model
	content string
}

// Status lists the serving and the refused models.
type Status struct {
	Live     map[string]string   // version by model name
	Shadow   map[string][]string // versions by model name
	Rejected map[string]string   // reasons, by a model's name/version or the path of serving.yaml
}

// Open loads the lineup that serving.yaml declares. The error names every model that does
// not load. The returned registry is usable even then: [Registry.Reload] and
// [Registry.Watch] try again.
func Open(conf Config) (*Registry, error) {
	conf.Serving = cmp.Or(conf.Serving, filepath.Join(conf.Dir, "serving.yaml"))
	if conf.Log == nil {
		conf.Log = zap.NewNop()
	}
	r := &Registry{conf: conf, loaded: map[string]loadedModel{}}
	registryCollector.add(r)
	_, err := r.Reload()
	return r, err
}

// Watch reloads every interval until ctx ends. It notices changes of serving.yaml and of
// each model file that it names: a rename, a rewrite in place and a ConfigMap's symlink
// swap.
func (r *Registry) Watch(ctx context.Context, interval time.Duration) {
	for range repeat.After(ctx, interval) {
		if _, err := r.Reload(); err != nil {
			r.conf.Log.Error("models: a change was refused; the previous models go on serving", zap.Error(err))
		}
	}
}

// Reload checks the files once and reports whether a new lineup serves. The error names
// each file that was refused; the model that served before goes on serving in its place.
// A refusal is returned only once, until the files change again.
func (r *Registry) Reload() (changed bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := takeFingerprint(r.conf.Dir, r.conf.Serving)
	if maps.Equal(seen, r.lastSeen) {
		return false, nil
	}
	r.lastSeen = seen
	serving, err := ReadServing(r.conf.Serving)
	if err != nil {
		r.reject(map[string]string{r.conf.Serving: err.Error()})
		return false, err
	}
	build := r.build(serving, seen)
	r.reject(build.rejected)
	if !build.changed {
		return false, build.err
	}
	r.swap(build)
	return true, build.err
}

// buildResult is the next lineup's models.
type buildResult struct {
	live     map[string]*Model
	shadow   map[string][]*Model
	loaded   map[string]loadedModel
	names    []string
	rejected map[string]string
	changed  bool
	err      error
}

func (r *Registry) build(serving Serving, seen fingerprint) *buildResult {
	b := &buildResult{live: map[string]*Model{}, shadow: map[string][]*Model{},
		loaded: map[string]loadedModel{}, rejected: map[string]string{}, names: slices.Sorted(maps.Keys(serving))}
	fresh := r.fresh(serving, seen)
	for _, name := range b.names {
		line := serving[name]
		if m := r.load(b, name, line.Live, seen, fresh); m != nil {
			b.live[name] = m
		} else if old := r.liveModel(name); old != nil {
			b.live[name] = old
			b.loaded[old.Manifest.Key()] = r.loaded[old.Manifest.Key()]
		}
		for _, version := range line.Shadow {
			if live := b.live[name]; live != nil && live.Manifest.Version == version {
				continue // the old live model serves on, in place of a refused one
			}
			if m := r.load(b, name, version, seen, fresh); m != nil {
				b.shadow[name] = append(b.shadow[name], m)
			}
		}
	}
	for key, f := range fresh { // free those that were loaded and are not used
		if f.model != nil && b.loaded[key].model != f.model {
			b.err = errors.Join(b.err, f.model.Close())
		}
	}
	b.changed = r.differs(b)
	return b
}

// freshModel is a model that was just loaded, or the error of loading it.
type freshModel struct {
	dir   string
	model *Model
	err   error
}

// fresh loads the models that are new or have changed, concurrently, because loading them
// is most of a start.
func (r *Registry) fresh(serving Serving, seen fingerprint) map[string]*freshModel {
	out := map[string]*freshModel{}
	var work sync.WaitGroup
	for name, line := range serving {
		for _, version := range append([]string{line.Live}, line.Shadow...) {
			key := name + "/" + version
			if have, ok := r.loaded[key]; !ok || have.content != seen.content(key) {
				out[key] = &freshModel{dir: filepath.Join(r.conf.Dir, name, version)}
			}
		}
	}
	models := slices.Collect(maps.Values(out)) // the largest first: it takes as long as all others together
	slices.SortFunc(models, func(a, b *freshModel) int { return cmp.Compare(folderSize(b.dir), folderSize(a.dir)) })
	for _, f := range models {
		work.Go(func() { f.model, f.err = LoadModel(f.dir, r.conf.LoadOptions) })
	}
	work.Wait()
	return out
}

// folderSize returns the size of a folder's files, or 0 if there is no folder.
func folderSize(dir string) (bytes int64) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			bytes += info.Size()
		}
	}
	return bytes
}

// load returns the model name/version: the serving one if its content is the same, else
// the fresh one. It returns nil and records the error in b if the model was refused.
func (r *Registry) load(b *buildResult, name, version string, seen fingerprint, fresh map[string]*freshModel) *Model {
	key := name + "/" + version
	content := seen.content(key)
	if have, ok := r.loaded[key]; ok && have.content == content {
		b.loaded[key] = have
		return have.model
	}
	m, err := fresh[key].model, fresh[key].err
	reloads.WithLabelValues(name, version, resultLabel(err)).Inc()
	if err != nil {
		b.rejected[key] = err.Error()
		b.err = errors.Join(b.err, err)
		return nil
	}
	b.loaded[key] = loadedModel{m, content}
	return m
}

func (r *Registry) liveModel(name string) *Model {
	if cur := r.current.Load(); cur != nil {
		for _, e := range cur.entries {
			if e.name == name {
				return e.live.Model
			}
		}
	}
	return nil
}

func (r *Registry) differs(b *buildResult) bool {
	cur := r.current.Load()
	if cur == nil {
		return len(b.live) > 0
	}
	if len(cur.entries) != len(b.live) {
		return true
	}
	for _, e := range cur.entries {
		if b.live[e.name] != e.live.Model || !slices.EqualFunc(e.shadow, b.shadow[e.name],
			func(a *lineupModel, m *Model) bool { return a.Model == m }) {
			return true
		}
	}
	return false
}

func (r *Registry) swap(b *buildResult) {
	next := newLineup(b.live, b.shadow, b.names)
	old := r.current.Swap(next)
	r.loaded = b.loaded
	r.status.Live, r.status.Shadow = map[string]string{}, map[string][]string{}
	next.each(func(m *lineupModel, shadow bool) {
		man := m.Manifest
		if shadow {
			r.status.Shadow[man.Name] = append(r.status.Shadow[man.Name], man.Version)
		} else {
			r.status.Live[man.Name] = man.Version
		}
	})
	r.conf.Log.Info("models: a new lineup serves", zap.Any("live", r.status.Live), zap.Any("shadow", r.status.Shadow))
	if old != nil {
		if err := old.release(); err != nil {
			r.conf.Log.Error("models: free", zap.Error(err))
		}
	}
}

func (r *Registry) reject(rejected map[string]string) {
	r.status.Rejected = rejected
}

// Status returns the serving and the refused models.
func (r *Registry) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.Live, s.Shadow, s.Rejected = maps.Clone(s.Live), maps.Clone(s.Shadow), maps.Clone(s.Rejected)
	return s
}

// Ready reports whether some version of every model in serving.yaml serves. The error
// names what was refused. It is true while an old version serves in place of a refused
// one, because taking the instance out of service would not help; [Registry.Status], the
// log and the metric pitboss_score_model_rejected report the refusal.
func (r *Registry) Ready() (bool, error) {
	s := r.Status()
	if r.current.Load() != nil {
		serving, _ := ReadServing(r.conf.Serving) // nil: it became unreadable after a good start
		for name := range s.Live {
			delete(serving, name)
		}
		if len(serving) == 0 {
			return true, nil
		}
	}
	var err error
	for _, key := range slices.Sorted(maps.Keys(s.Rejected)) {
		err = errors.Join(err, fmt.Errorf("%s: %s", key, s.Rejected[key]))
	}
	if err == nil {
		err = ErrNotLoaded
	}
	return false, err
}

// acquire takes a reference to the serving lineup and returns it, or nil if none serves.
func (r *Registry) acquire() *Lineup {
	for {
		l := r.current.Load()
		if l == nil || l.acquire() {
			return l
		}
	}
}

// Close releases the serving lineup. Its models are freed when the calls in flight end.
func (r *Registry) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	registryCollector.remove(r)
	if old := r.current.Swap(nil); old != nil {
		return old.release()
	}
	return nil
}
