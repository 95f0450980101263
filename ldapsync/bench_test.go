package ldapsync_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/labstore"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/ldapsync"
)

// BenchmarkRatioIncremental measures what an incremental run takes from when the
// connection is bound and the server known, on the servers that `make
// bench-sync` does not measure otherwise, as a part of the 50 ms that it may
// take. The directories are small: nothing in such a run grows with them but
// the server's own search.
func BenchmarkRatioIncremental(b *testing.B) {
	const people, changed, runs = 300, 10, 9
	for _, tt := range []struct {
		kind   lab.Kind
		method string
	}{{lab.DS389, "syncrepl"}, {lab.AD, "dirsync"}, {lab.AD, "usn"}} {
		b.Run(fmt.Sprintf("%s/%s", tt.kind, tt.method), func(b *testing.B) {
			d := lab.Shared(b, tt.kind)
			var dns []string
			for i := range people {
				dns = append(dns, d.AddPerson(d.ID(fmt.Sprintf("b%03d", i)), nil))
			}
			var bound time.Time
			percent := config.Limit{N: 10, Percent: true}
			o := ldapsync.Options{
				Agreement: config.Agreement{Name: "corp", Servers: []string{d.TLSURL()}, CAFile: d.CAFile(), Bind: config.Bind{DN: d.BindDN()}, Base: d.Base,
					Method: strings.Replace(tt.method, "usn", "dirsync", 1), PageSize: 1000, Timeout: 10 * time.Second, Interval: 15 * time.Minute, FullEvery: 24 * time.Hour,
					Guard: config.Guard{MaxDeactivate: percent, MaxBlank: percent, Window: 24 * time.Hour}},
				Password: secret.New(d.BindPassword()), Store: ldapsync.Over(labstore.Open(b)), Log: slog.New(slog.DiscardHandler),
				Connect: func(ctx context.Context, c ldapsync.ConnectOptions) (ldapsync.Directory, error) {
					dir, err := ldapsync.Connect(ctx, c)
					bound = time.Now()
					if tt.method == "usn" && err == nil {
						return noDirSync{dir}, nil
					}
					return dir, err
				},
			}
			sync := func(updated int) time.Duration {
				r, err := ldapsync.Run(b.Context(), o)
				if err != nil || r.Feed != tt.method || r.Full != (r.Added > 0) || r.Updated != updated {
					b.Fatalf("%+v, %v", r, err)
				}
				return time.Since(bound)
			}
			sync(0)
			for range b.N {
				var nothing, some []time.Duration
				for i := range runs {
					nothing = append(nothing, sync(0))
					for _, dn := range dns[:changed] {
						d.Set(dn, "givenName", fmt.Sprintf("New %d %d", i, time.Now().UnixNano()))
					}
					some = append(some, sync(changed))
				}
				for name, all := range map[string][]time.Duration{"nothing": nothing, "10-changed": some} {
					slices.Sort(all)
					b.ReportMetric(all[len(all)/2].Seconds()/0.05, name+"/50ms")
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
