// Command kube-apiserver is Kubernetes' own API server. It cannot be installed
// from its module as it is (its go.mod has replace directives), hence this main.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() { os.Exit(cli.Run(app.NewAPIServerCommand())) }
