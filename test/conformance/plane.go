package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	system         = "knative-eventing"
	token          = "conformance"
	dispatcherPort = 18083 // as built by scripts/control-plane.sh
)

// accounts are the ServiceAccounts of Knative's processes. The API server accepts their
// names as tokens.
var accounts = []string{"eventing-controller", "eventing-webhook", "imc-controller", "imc-dispatcher", "mt-broker-ingress", "mt-broker-filter"}

// plane is the control plane's processes.
type plane struct {
	bin, dir string
	host     string // an address of this machine that is not loopback
	ports    map[string]int
	procs    []*exec.Cmd
	proxy    *http.Server
	api      *client
}

// startPlane starts everything and waits until a Broker can be created. It returns the plane
// even with an error, so that the caller can stop it.
func startPlane(ctx context.Context, bin, dir string) (*plane, error) {
	if _, err := os.Stat(filepath.Join(bin, "complete")); err != nil {
		return nil, fmt.Errorf("-bin %q: %w (scripts/control-plane.sh builds and prints it)", bin, err)
	}
	p := &plane{bin: bin, dir: dir, ports: map[string]int{}}
	for _, step := range []func(context.Context) error{p.address, p.freePorts, p.startKubernetes, p.connect, p.startProxy, p.applyEventing, p.startEventing} {
		if err := step(ctx); err != nil {
			return p, err
		}
	}
	return p, nil
}

// stop ends every process, last started first.
func (p *plane) stop() {
	if p.proxy != nil {
		p.proxy.Close()
	}
	for i := len(p.procs) - 1; i >= 0; i-- {
		_ = p.procs[i].Process.Signal(syscall.SIGTERM)
	}
	for _, cmd := range p.procs {
		done := make(chan struct{})
		go func() { _ = cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(3 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
	}
}

// address finds an address for the webhooks, since an EndpointSlice must not contain a
// loopback address.
func (p *plane) address(context.Context) error {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			p.host = n.IP.String()
			return nil
		}
	}
	p.host = "10.255.0.1" // there is no network, so give loopback a second address
	if out, err := exec.Command("ip", "addr", "add", p.host+"/32", "dev", "lo").CombinedOutput(); err != nil {
		return fmt.Errorf("this machine has no address but loopback, and adding one failed: %s", out)
	}
	return nil
}

func (p *plane) freePorts(context.Context) error {
	for _, name := range []string{"etcd", "peer", "api", "kcm", "proxy", "webhook", "imc-webhook", "ingress", "ingress-tls", "filter", "filter-tls"} {
		ln, err := net.Listen("tcp", ":0")
		if err != nil {
			return err
		}
		defer ln.Close()
		p.ports[name] = ln.Addr().(*net.TCPAddr).Port
	}
	ln, err := net.Listen("tcp", fmt.Sprintf(":%d", dispatcherPort))
	if err != nil {
		return fmt.Errorf("the in-memory channel's dispatcher needs port %d: %w", dispatcherPort, err)
	}
	return ln.Close()
}

func (p *plane) port(name string) string { return strconv.Itoa(p.ports[name]) }

// run starts a process and logs to the folder of all logs.
func (p *plane) run(name string, env []string, args ...string) error {
	log, err := os.Create(filepath.Join(p.dir, name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.Dir = append(os.Environ(), env...), log, log, p.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	p.procs = append(p.procs, cmd)
	return nil
}

func (p *plane) startKubernetes(ctx context.Context) error {
	if err := p.writeSecrets(); err != nil {
		return err
	}
	etcd := "http://127.0.0.1:" + p.port("etcd")
	if err := p.run("etcd", nil, "--data-dir", "etcd", "--listen-client-urls", etcd, "--advertise-client-urls", etcd,
		"--listen-peer-urls", "http://127.0.0.1:"+p.port("peer"), "--initial-advertise-peer-urls", "http://127.0.0.1:"+p.port("peer"),
		"--initial-cluster", "default=http://127.0.0.1:"+p.port("peer"), "--unsafe-no-fsync", "--log-level", "warn"); err != nil {
		return err
	}
	if err := p.run("kube-apiserver", nil, "--etcd-servers", etcd, "--bind-address", "127.0.0.1", "--secure-port", p.port("api"), "--advertise-address", p.host,
		"--cert-dir", "certs", "--token-auth-file", "tokens", "--authorization-mode", "RBAC",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-signing-key-file", "sa.key", "--service-account-key-file", "sa.key",
		"--service-cluster-ip-range", "10.96.0.0/16", "--disable-admission-plugins", "ServiceAccount,TaintNodesByCondition",
		"--enable-aggregator-routing=true", "--allow-privileged=true", "--endpoint-reconciler-type", "none"); err != nil {
		return err
	}
	if err := wait(ctx, "kube-apiserver", 60*time.Second, p.apiReady); err != nil {
		return err
	}
	// Aggregated ClusterRoles and owner references need these four.
	return p.run("kube-controller-manager", nil, "--kubeconfig", "kubeconfig", "--authentication-kubeconfig", "kubeconfig", "--authorization-kubeconfig", "kubeconfig",
		"--authorization-always-allow-paths=/healthz", "--bind-address", "127.0.0.1", "--secure-port", p.port("kcm"), "--leader-elect=false",
		"--service-account-private-key-file", "sa.key", "--use-service-account-credentials=false",
		"--controllers=clusterrole-aggregation-controller,garbage-collector-controller,namespace-controller,serviceaccount-controller", "--concurrent-gc-syncs", "5")
}

// writeSecrets writes the tokens, the key that signs ServiceAccount tokens and
// a kubeconfig for each account.
func (p *plane) writeSecrets() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(filepath.Join(p.dir, "sa.key"), pemKey, 0o600); err != nil {
		return err
	}
	tokens := token + `,admin,admin,"system:masters"` + "\n"
	kubeconfig := func(tok string) []byte {
		return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"c"}}],"clusters":[{"name":"c","cluster":{"server":"https://127.0.0.1:%s","insecure-skip-tls-verify":true}}],"users":[{"name":"c","user":{"token":%q}}]}`, p.port("api"), tok)
	}
	files := map[string][]byte{"kubeconfig": kubeconfig(token)}
	for _, a := range accounts {
		tokens += fmt.Sprintf("%s,system:serviceaccount:%s:%s,%s,\"system:serviceaccounts,system:serviceaccounts:%s\"\n", a, system, a, a, system)
		files["kubeconfig-"+a] = kubeconfig(a)
	}
	files["tokens"] = []byte(tokens)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(p.dir, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (p *plane) apiReady(ctx context.Context) error {
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: time.Second} // its own certificate, on loopback
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://127.0.0.1:"+p.port("api")+"/readyz", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("readyz: %s", resp.Status)
	}
	return nil
}

// startProxy stands in for the cluster's DNS: Knative's processes reach the cluster's names
// through it (HTTP_PROXY). They reach loopback, where the subscribers are, directly.
func (p *plane) startProxy(context.Context) error {
	to := map[string]string{
		"broker-ingress." + system + ".svc.cluster.local": "127.0.0.1:" + p.port("ingress"),
		"broker-filter." + system + ".svc.cluster.local":  "127.0.0.1:" + p.port("filter"),
	}
	rp := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Host, r.Out.URL.Scheme = r.In.Host, "http"
			r.Out.URL.Host = "127.0.0.1:" + strconv.Itoa(dispatcherPort) // channels
			if addr, ok := to[strings.Split(r.In.Host, ":")[0]]; ok {
				r.Out.URL.Host = addr
			}
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 100},
	}
	p.proxy = &http.Server{Addr: "127.0.0.1:" + p.port("proxy"), Handler: rp, ReadHeaderTimeout: 10 * time.Second}
	ln, err := net.Listen("tcp", p.proxy.Addr)
	if err != nil {
		return err
	}
	go p.proxy.Serve(ln)
	return nil
}

// wait polls until check returns nil.
func wait(ctx context.Context, what string, limit time.Duration, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not ready after %s: %w", what, limit, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
