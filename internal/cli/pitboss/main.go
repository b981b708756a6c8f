// Command pitboss is the command line without the one-machine Broker: small
// enough to go into the functions' image, for what runs on a schedule there
// (broker/services/journal.yaml).
package main

import (
	"os"

	"pitboss/internal/cli"
)

var version = "dev" // set by the linker

func main() { os.Exit(cli.Main(version)) }
