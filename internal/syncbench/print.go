package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// median returns the figures of the run with the median wall, and the median
// of the others.
func median(all []figures) (f figures) {
	if len(all) == 0 {
		return f
	}
	middle := func(of func(figures) int64) int64 {
		v := make([]int64, len(all))
		for i, f := range all {
			v[i] = of(f)
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	f.wall = time.Duration(middle(func(f figures) int64 { return int64(f.wall) }))
	f.cpu = time.Duration(middle(func(f figures) int64 { return int64(f.cpu) }))
	f.peak = middle(func(f figures) int64 { return f.peak })
	return f
}

// print writes tables in Markdown; smaller is a directory that was measured
// before.
func (b *bench) print(w io.Writer, smaller *bench) {
	fmt.Fprintf(w, "\n### %d users, medians of %d\n\n| work | wall | own CPU | peak memory |\n| --- | --- | --- | --- |\n", b.users, b.runs)
	printed := make(map[string]bool)
	for _, r := range rows {
		if printed[r.name] {
			continue
		}
		printed[r.name] = true
		if f := median(b.measured[r.name]); f.wall > 0 {
			fmt.Fprintf(w, "| %s | %s | %s | %d MiB |\n", r.name, short(f.wall), short(f.cpu), f.peak>>20)
		}
	}
	fmt.Fprintf(w, "\n| ratio of walls | measured | wanted |\n| --- | --- | --- |\n")
	for _, t := range targets {
		x, y := median(b.measured[t.row]).wall, median(b.measured[t.against]).wall
		if x > 0 && y > 0 {
			ratio(w, t.row+" ÷ "+t.against, float64(x)/float64(y), t.most)
		}
	}
	for _, r := range rows {
		if most, f := limits[r.name], median(b.measured[r.name]); most > 0 && f.wall > 0 {
			ratio(w, r.name+" ÷ "+most.String(), float64(f.wall)/float64(most), 1)
		}
	}
	const fixed, each = 48 << 20, 24
	for _, name := range []string{firstFull, laterFull} {
		if f := median(b.measured[name]); f.peak > 0 {
			most := float64(fixed + each*b.users)
			ratio(w, fmt.Sprintf("peak memory of %s ÷ (48 MiB + 24 bytes a user = %.0f MiB)", name, most/(1<<20)), float64(f.peak)/most, 1)
		}
	}
	if smaller == nil || smaller.users >= b.users {
		return
	}
	for _, name := range []string{firstFull, secondFull, laterFull, pagedSearch} {
		x, y := median(b.measured[name]).wall, median(smaller.measured[name]).wall
		if x > 0 && y > 0 {
			ratio(w, fmt.Sprintf("%s, %d users ÷ %d", name, b.users, smaller.users), float64(x)/float64(y), 1.1*float64(b.users)/float64(smaller.users))
		}
	}
}

// short writes a duration with as many digits as mean something.
func short(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

func ratio(w io.Writer, name string, r, most float64) {
	want, good := fmt.Sprintf("≤ %.1f", most), r <= most
	if most < 0 {
		want, good = fmt.Sprintf("≥ %.0f", -most), r >= -most
	}
	if !good {
		want += " — missed"
	}
	fmt.Fprintf(w, "| %s | %.2f | %s |\n", name, r, want)
}
