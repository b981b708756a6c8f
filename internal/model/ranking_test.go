package model

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pitboss/internal/event"
)

// writeRanking lays a linear ranking model over items, its scores the input
// row times matrix, under root as next-game/v1.
func writeRanking(t *testing.T, root string, items []string, history string, matrix [][]float32) {
	t.Helper()
	columns, n := len(matrix), len(items)
	var raw []byte
	for _, row := range matrix {
		for _, v := range row {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
	}
	weights := number(number(number(nil, 1, uint64(columns)), 1, uint64(n)), 2, 1)
	weights = message(message(weights, 8, []byte("w")), 9, raw)
	matmul := message(message(message(message(nil, 1, []byte("features")), 1, []byte("w")), 2, []byte("scores")), 4, []byte("MatMul"))
	graph := message(message(message(nil, 1, matmul), 2, []byte("g")), 5, weights)
	graph = message(message(graph, 11, tensorInfoBytes("features", columns)), 12, tensorInfoBytes("scores", n))
	onnx := message(message(number(nil, 1, 9), 7, graph), 8, number(message(nil, 1, nil), 2, 17))

	dir := filepath.Join(root, "next-game", "v1")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	input := make([]string, columns)
	output := make([]string, n)
	for i := range input {
		input[i] = "0"
	}
	input[0] = "1"
	for i := range output {
		output[i] = fmt.Sprint(matrix[0][i])
	}
	put(t, filepath.Join(dir, "golden.json"), fmt.Appendf(nil, `{"rows":[{"input":[%s],"output":[%s]}]}`,
		strings.Join(input, ","), strings.Join(output, ",")))
	put(t, filepath.Join(dir, "model.onnx"), onnx)
	put(t, filepath.Join(dir, "model.yaml"), fmt.Appendf(nil, "name: next-game\nversion: v1\nkind: ranking\noutput: next_game\n"+
		"sha256: \"%x\"\ninput: features\noutput_tensor: scores\nitems: [%s]\nhistory: %s\n"+
		"trained: {on: [made], rows: 1, with: go, seed: 1}\nmetrics: {}\n", sha256.Sum256(onnx), strings.Join(items, ", "), history))
}

func TestRankingIsBuiltFromTheRecentGames(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	newMade("leave", "v1", 1, 3, 2, 2).write(t, root)
	// Each game's own weight counts once by decay 0.5 and tenfold when it was last.
	writeRanking(t, root, []string{"a", "b", "c"}, "{length: 3, decays: [0, 0.5]}", [][]float32{
		{0, 0, 10}, {10, 0, 0}, {0, 10, 0}, // the last game votes for its successor
		{1, 0, 0}, {0, 1, 0}, {0, 0, 1}, // the history for itself
	})
	r := mustServe(t, root, "leave: {live: v1}\nnext-game: {live: v1}\n")
	for _, tc := range []struct {
		recent []string
		last   string
		want   []event.Ranked
	}{
		{[]string{"a", "b", "b", "c"}, "a", []event.Ranked{{Item: "c", Score: 10}, {Item: "a", Score: 1}, {Item: "b", Score: 0.75}}},
		{[]string{"b", "unknown", "b"}, "b", []event.Ranked{{Item: "a", Score: 10}, {Item: "b", Score: 1.25}, {Item: "c", Score: 0}}},
		{nil, "c", []event.Ranked{{Item: "b", Score: 10}, {Item: "c", Score: 1}, {Item: "a", Score: 0}}},
		{nil, "unknown", nil},
		{nil, "", nil},
	} {
		in := updated(`{"f0":0,"f1":0}`)
		in.Facts.RecentGames, in.Facts.LastGame = tc.recent, tc.last
		var out event.PlayerScored
		if err := NewScorer(r, 0).Score(in, &out); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(out.Ranking, tc.want) {
			t.Errorf("after %v (last %q): %v, want %v", tc.recent, tc.last, out.Ranking, tc.want)
		}
		if ran := len(out.Models) == 2; ran != (tc.want != nil) || len(out.Scores) != 1 {
			t.Errorf("models %+v, scores %v", out.Models, out.Scores)
		}
	}
}
