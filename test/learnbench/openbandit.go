package main

import (
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"pitboss/internal/dataset"
)

// openBandit is a stream with the click-through rate of each item in the uniformly random
// log of an Open Bandit campaign. The initial values are the campaign's mean for every
// item.
func openBandit(campaign string, players int) (s stream, err error) {
	file, err := os.Open(filepath.Join(dataset.Folder(), "obd", "random-"+campaign+".csv.gz"))
	if err != nil {
		return s, err
	}
	defer file.Close()
	zr, err := gzip.NewReader(file)
	if err != nil {
		return s, err
	}
	lines, err := csv.NewReader(zr).ReadAll()
	if err != nil {
		return s, err
	}
	item, click := slices.Index(lines[0], "item_id"), slices.Index(lines[0], "click")
	if item < 0 || click < 0 {
		return s, fmt.Errorf("open bandit: %s has no columns item_id and click", file.Name())
	}
	shown, clicked := map[string]float64{}, map[string]float64{}
	var all float64
	for _, l := range lines[1:] {
		c, err := strconv.ParseFloat(l[click], 64)
		if err != nil {
			return s, fmt.Errorf("open bandit: click: %w", err)
		}
		shown[l[item]]++
		clicked[l[item]] += c
		all += c
	}
	s = stream{Name: "Open Bandit, " + campaign, Players: players, Deviation: 1, Noise: 7}
	items := make([]string, 0, len(shown))
	for i := range shown {
		items = append(items, i)
	}
	slices.Sort(items)
	for _, i := range items {
		s.Actions = append(s.Actions, "item_"+i)
		s.Guesses = append(s.Guesses, reward*all/float64(len(lines)-1))
		s.Rates = append(s.Rates, clicked[i]/shown[i])
	}
	return s, nil
}
