// Command pitboss is the command line without the one-machine Broker. It is small enough for
// the functions' image, where scheduled jobs run it (broker/services/journal.yaml).
package main

import (
	"os"

	"pitboss/internal/cli"
)

var version = "dev" // set by the linker

func main() { os.Exit(cli.Main(version)) }
