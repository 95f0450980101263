package ldapsync

import (
	"encoding/binary"
	"testing"
)

func TestRepeats(t *testing.T) {
	key := func(n int) (k rawKey) { binary.BigEndian.PutUint64(k[:], uint64(n)); return k }
	// Each entry comes four times, as often as it may, and the answer ends.
	var r repeats
	for range 1 + repeatsAtMost {
		for n := range 1000 {
			if err := r.see(key(n)); err != nil {
				t.Fatalf("entry %d: %v", n, err)
			}
		}
	}
	// Some are there first, others for ever.
	for _, tt := range []struct{ before, cycle int }{{0, 1}, {0, 1000}, {700, 1000}, {5000, 3}, {1023, 1024}} {
		var r repeats
		n, most := 0, 10*(tt.before+(2+repeatsAtMost)*tt.cycle)
		for ; n < most; n++ {
			k := n
			if n >= tt.before {
				k = tt.before + (n-tt.before)%tt.cycle
			}
			if r.see(key(k)) != nil {
				break
			}
		}
		if n == most {
			t.Errorf("%+v: not noticed after %d entries", tt, n)
		}
	}
}
