package redisdb

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pitboss/test/redistest"
)

// works writes and reads through the client that a URL gives.
func works(t *testing.T, url string) {
	t.Helper()
	ctx := context.Background()
	c, err := Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 20 {
		key := fmt.Sprint("k", i)
		if err := c.Set(ctx, key, "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Get(ctx, key).Result(); err != nil || got != "v" {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

func TestOneURLForEveryRedis(t *testing.T) {
	t.Parallel()
	t.Run("one server", func(t *testing.T) {
		t.Parallel()
		works(t, redistest.Start(t))
	})
	t.Run("password", func(t *testing.T) {
		t.Parallel()
		srv := redistest.New(t, "--requirepass", "s3cret")
		works(t, "redis://:s3cret@"+srv.Addr+"/0")
		_, err := Open(context.Background(), "redis://:wr0ng@"+srv.Addr)
		if err == nil {
			t.Fatal("a wrong password is let in")
		}
		if strings.Contains(err.Error(), "wr0ng") {
			t.Fatalf("the error tells the password: %v", err)
		}
	})
	t.Run("TLS", func(t *testing.T) {
		t.Parallel()
		cert, key := selfSigned(t)
		port, err := redistest.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		redistest.New(t, "--tls-port", fmt.Sprint(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no")
		works(t, fmt.Sprintf("rediss://127.0.0.1:%d?skip_verify=true", port))
		if c, err := Open(context.Background(), fmt.Sprintf("rediss://127.0.0.1:%d", port)); err == nil {
			c.Close()
			t.Fatal("a certificate of nobody's is trusted")
		}
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		works(t, redistest.Cluster(t))
	})
	t.Run("sentinel", func(t *testing.T) {
		t.Parallel()
		works(t, redistest.Sentinel(t, 1).URL())
	})
}

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &priv.PublicKey, priv)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, typ string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", cert), write("key.pem", "PRIVATE KEY", key)
}

// A password must not come out in an error, whether its URL can be taken apart or not.
func TestNoErrorTellsThePassword(t *testing.T) {
	t.Parallel()
	for _, password := range []string{"secretsecret", "secret%secret", "secret%zzsecret", "secret/secret", "secret#secret", "12#secret", "12/secret", "secret?secret", "secret@secret", "secret:secret"} {
		for _, form := range []string{"redis://:%s@127.0.0.1:1", "redis://user:%s@127.0.0.1:1/x", "redis+cluster://:%s@127.0.0.1:1,127.0.0.1:2", "redis+sentinel://:%s@127.0.0.1:1", "http://:%s@127.0.0.1"} {
			raw := fmt.Sprintf(form, password)
			if _, err := Open(t.Context(), raw); err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), ":12") {
				t.Errorf("%s: %v", raw, err)
			}
		}
	}
}
