package credential

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/dirpin/dirpin/internal/secret"
)

func TestHistory(t *testing.T) {
	first := newTestRing(t, 1)
	second := rotated(t, first, 2)
	third := rotated(t, second, 3)
	tags := [][]byte{
		first.HistoryTag(7, PIN, secret.New("471108")),
		second.HistoryTag(7, PIN, secret.New("190284")),
		first.HistoryTag(7, PIN, secret.New("663092")),
	}
	for _, tt := range []struct {
		name  string
		ring  *Ring
		user  int64
		kind  Kind
		value string
		tags  [][]byte
		want  bool
	}{
		{"under an old key", third, 7, PIN, "471108", tags, true},
		{"under a younger key", third, 7, PIN, "190284", tags, true},
		{"the last", third, 7, PIN, "663092", tags, true},
		{"never used", third, 7, PIN, "471109", tags, false},
		{"a part", third, 7, PIN, "47110", tags, false},
		{"another user's", third, 8, PIN, "471108", tags, false},
		{"as a password", third, 7, Password, "471108", tags, false},
		{"no history", third, 7, PIN, "471108", nil, false},
		{"a ring without the key", first, 7, PIN, "190284", tags, false},
		{"a cut tag", third, 7, PIN, "471108", [][]byte{tags[0][:10], {}, nil, append(bytes.Clone(tags[0]), 0)}, false},
	} {
		if got := tt.ring.InHistory(tt.user, tt.kind, secret.New(tt.value), tt.tags); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
	if bytes.Equal(tags[0][:idSize], tags[1][:idSize]) || bytes.Equal(tags[0][idSize:], first.HistoryTag(8, PIN, secret.New("471108"))[idSize:]) {
		t.Error("tags do not depend on key or user")
	}
}

func TestHistoryProperty(t *testing.T) {
	ring := newTestRing(t, 1)
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]Kind{PIN, Password}).Draw(t, "kind")
		user := rapid.Int64().Draw(t, "user")
		values := rapid.SliceOfN(rapid.String(), 0, 6).Draw(t, "values")
		probe := rapid.OneOf(rapid.String(), rapid.SampledFrom(append(values, "x"))).Draw(t, "probe")
		var tags [][]byte
		want := false
		for _, v := range values {
			tags = append(tags, ring.HistoryTag(user, kind, secret.New(v)))
			want = want || v == probe
		}
		if got := ring.InHistory(user, kind, secret.New(probe), tags); got != want {
			t.Fatalf("got %v", got)
		}
	})
}

func BenchmarkInHistory(b *testing.B) {
	ring := newTestRing(b, 1)
	var tags [][]byte
	for _, v := range []string{"471108", "190284", "663092"} {
		tags = append(tags, ring.HistoryTag(7, PIN, secret.New(v)))
	}
	pin := secret.New("820491")
	b.ReportAllocs()
	for b.Loop() {
		if ring.InHistory(7, PIN, pin, tags) {
			b.Fatal("found")
		}
	}
}
