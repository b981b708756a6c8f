// Command local is bin/pitboss: the command line, and the whole system on one
// machine (`pitboss run`).
package main

import (
	"os"

	"pitboss/internal/cli"
)

var version = "dev" // set by the linker

func main() { os.Exit(cli.Main(version, runCmd(), brokerCmd())) }
