// Command syncbench measures dirpin's synchronization against the tools of
// others, on the same slapd in the same run, and prints their ratios: figures
// of one machine at one moment, which drift, where ratios do so less.
// `make bench-sync` calls it; docs/benchmarks.md has a result.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == childArg {
		exit(runChild(os.Args[2:]))
	}
	users := flag.String("users", "100000", "how many users; with a comma, several directories one after the other")
	runs := flag.Int("runs", 0, "runs of each, of which the median counts; 0: 3, or 1 with more than 200,000 users")
	binary := flag.String("dirpin", "bin/dirpin", "the program that is measured")
	only := flag.String("only", "", "run only the rows whose name contains this")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(run(ctx, *users, *runs, *binary, *only))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "syncbench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context, users string, runs int, binary, only string) error {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	var first *bench
	for _, n := range strings.Split(users, ",") {
		b := &bench{runs: runs, binary: binary, only: only, measured: make(map[string][]figures)}
		if b.users, err = strconv.Atoi(n); err != nil {
			return fmt.Errorf("-users %s: %w", users, err)
		}
		if b.runs == 0 {
			b.runs = 3
			if b.users > fewUsers {
				b.runs = 1
			}
		}
		if err := b.all(ctx); err != nil {
			return err
		}
		b.print(os.Stdout, first)
		if first == nil {
			first = b
		}
	}
	return nil
}
