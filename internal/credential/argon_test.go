package credential

import (
	"bytes"
	"encoding/hex"
	"sync"
	"testing"

	"golang.org/x/crypto/argon2"
	"pgregory.net/rapid"
)

// RFC 9106, section 5.3.
func TestArgonVector(t *testing.T) {
	of := func(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }
	p := Params{Memory: 32, Time: 3, Threads: 4}
	h0 := initHash(of(32, 1), of(16, 2), of(8, 3), of(12, 4), p.Time, p.Memory, uint32(p.Threads), 32, argon2id)
	got := argonKey(make([]block, argonBlocks(p)), h0, p, 32)
	if want := "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"; hex.EncodeToString(got) != want {
		t.Errorf("got %x, want %s", got, want)
	}
}

// An arena that has been used gives what x/crypto gives with memory of its own.
func TestArgonAgrees(t *testing.T) {
	a := newArena(Params{Memory: 256, Time: 1, Threads: 1})
	rapid.Check(t, func(t *rapid.T) {
		threads := rapid.Uint8Range(1, 5).Draw(t, "threads")
		p := Params{
			Memory:  rapid.Uint32Range(8*uint32(threads), 400).Draw(t, "memory"),
			Time:    rapid.Uint32Range(1, 3).Draw(t, "time"),
			Threads: threads,
		}
		value := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "value")
		salt := rapid.SliceOfN(rapid.Byte(), 8, 64).Draw(t, "salt")
		n := rapid.Uint32Range(4, 200).Draw(t, "length")
		got := a.key(p, value, salt, n)
		if want := argon2.IDKey(value, salt, p.Time, p.Memory, p.Threads, n); !bytes.Equal(got, want) {
			t.Fatalf("got %x, want %x", got, want)
		}
	})
}

func TestArenaConcurrently(t *testing.T) {
	p := Params{Memory: 64, Time: 1, Threads: 1}
	a := newArena(p)
	large := Params{Memory: 256, Time: 1, Threads: 2}
	var wg sync.WaitGroup
	for i := range byte(16) {
		wg.Go(func() {
			for j := range byte(20) {
				q := p
				if j%5 == 0 {
					q = large
				}
				value, salt := []byte{i, j}, bytes.Repeat([]byte{i}, 16)
				if got := a.key(q, value, salt, 32); !bytes.Equal(got, argon2.IDKey(value, salt, q.Time, q.Memory, q.Threads, 32)) {
					t.Errorf("%d %d: another hash", i, j)
				}
			}
		})
	}
	wg.Wait()
}

func TestArenaKeepsNothing(t *testing.T) {
	p := Params{Memory: 64, Time: 1, Threads: 1}
	a := newArena(p)
	for range 100 { // under the race detector a pool drops some
		a.key(p, []byte("4711"), make([]byte, 16), 32)
		b, ok := a.pool.Get().(*[]block)
		if !ok {
			continue
		}
		for i := range *b {
			if (*b)[i] != (block{}) {
				t.Fatalf("block %d is not zero", i)
			}
		}
		return
	}
	t.Error("the memory is not kept for the next hash")
}

// What the arena saves, with -benchmem and -cpu 1,2.
func BenchmarkArgon(b *testing.B) {
	p := DefaultParams()
	salt := make([]byte, 16)
	a := newArena(p)
	for name, f := range map[string]func(){
		"arena":    func() { a.key(p, salt, salt, 32) },
		"x-crypto": func() { argon2.IDKey(salt, salt, p.Time, p.Memory, p.Threads, 32) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					f()
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "hashes/s")
		})
	}
}
