//go:build tools

// What INGRESS=traefik has scripts/cluster.sh build from this module.
package main

import _ "github.com/traefik/traefik/v3/cmd/traefik"
