package player

import "github.com/redis/go-redis/v9"

// Pipelining is how the commands of different players share connections.
type Pipelining uint8

const (
	// PipelineDefault is the fastest measured: see docs/state.md.
	PipelineDefault Pipelining = iota
	// PipelineOff gives each command a connection of its own for its time.
	PipelineOff
	// PipelineAuto lets go-redis gather concurrent commands into pipelines.
	PipelineAuto
)

func sender(rdb redis.UniversalClient, mode Pipelining) processor {
	return rdb
}
