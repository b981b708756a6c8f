package main

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	zone     = ".svc.cluster.local."
	ttl      = 5
	udpLimit = 1232 // bytes of an answer that no network takes apart
)

// serveNames answers A records of Services by their cluster address, of headless
// ones by their pods', and CNAMEs of external names. It knows no other name and
// asks nobody: there is no way out of this cluster.
func serveNames(ctx context.Context, _ *rest.Config, client kubernetes.Interface) error {
	s, err := watchServices(ctx, client)
	if err != nil {
		return err
	}
	packets, err := net.ListenPacket("udp", ":53")
	if err != nil {
		return err
	}
	streams, err := net.Listen("tcp", ":53")
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { packets.Close(); streams.Close() })
	go func() {
		for {
			conn, err := streams.Accept()
			if err != nil {
				return
			}
			go s.answerStream(conn)
		}
	}()
	for query := make([]byte, 4096); ; {
		n, from, err := packets.ReadFrom(query)
		if err != nil {
			return err
		}
		if reply := s.answer(query[:n], udpLimit); reply != nil {
			_, _ = packets.WriteTo(reply, from) // whoever asked asks again
		}
	}
}

func (s *services) answerStream(conn net.Conn) {
	defer conn.Close()
	for {
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		var size uint16
		if binary.Read(conn, binary.BigEndian, &size) != nil {
			return
		}
		query := make([]byte, size)
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		reply := s.answer(query, 1<<16-1)
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}

// answer returns nil for what is no question.
func (s *services) answer(query []byte, limit int) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	m := dnsmessage.Message{Questions: []dnsmessage.Question{q}, Header: dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true,
		RecursionDesired: h.RecursionDesired, RecursionAvailable: true}}
	known := false
	if m.Answers, known = s.resolve(q.Name, q.Type, 0); !known {
		m.RCode = dnsmessage.RCodeNameError
	}
	reply, err := m.Pack()
	if err == nil && len(reply) > limit {
		m.Answers, m.Truncated = nil, true
		reply, err = m.Pack()
	}
	if err != nil {
		return nil
	}
	return reply
}

// resolve tells whether the name is known, and its records of the type, if any.
func (s *services) resolve(name dnsmessage.Name, kind dnsmessage.Type, depth int) (out []dnsmessage.Resource, known bool) {
	short, ok := strings.CutSuffix(strings.ToLower(name.String()), zone)
	service, namespace, two := strings.Cut(short, ".")
	if !ok || !two || depth > 4 {
		return nil, false
	}
	svc, err := s.Services(namespace).Get(service)
	if err != nil {
		return nil, false
	}
	record := func(t dnsmessage.Type, body dnsmessage.ResourceBody) {
		out = append(out, dnsmessage.Resource{Body: body, Header: dnsmessage.ResourceHeader{Name: name, Type: t, Class: dnsmessage.ClassINET, TTL: ttl}})
	}
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		target, err := dnsmessage.NewName(strings.TrimSuffix(svc.Spec.ExternalName, ".") + ".")
		if err != nil {
			return nil, false
		}
		record(dnsmessage.TypeCNAME, &dnsmessage.CNAMEResource{CNAME: target})
		more, _ := s.resolve(target, kind, depth+1)
		return append(out, more...), true
	}
	if kind != dnsmessage.TypeA {
		return nil, true
	}
	if ip, err := netip.ParseAddr(svc.Spec.ClusterIP); err == nil {
		record(kind, &dnsmessage.AResource{A: ip.As4()})
		return out, true
	}
	seen := map[netip.Addr]bool{}
	for _, e := range s.endpoints(svc, "") {
		if !seen[e.Addr()] && e.Addr().Is4() {
			seen[e.Addr()] = true
			record(kind, &dnsmessage.AResource{A: e.Addr().As4()})
		}
	}
	return out, len(out) > 0
}
