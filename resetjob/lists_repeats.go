package resetjob

import (
	"cmp"
	"hash/maphash"
	"slices"
)

// listKey stands for one value of a list while repeats are looked for: a map
// of a million strings would take ten times the memory.
type listKey struct {
	hash   uint64
	offset uint32 // of its line
	line   uint32
}

// listHash hashes values with a seed of its own, so that nobody can prepare a
// list whose hashes collide.
type listHash struct{ seed maphash.Seed }

func newListHash() listHash { return listHash{maphash.MakeSeed()} }

func (h listHash) of(s string) uint64 { return maphash.String(h.seed, s) }

// repeats returns the ascending offsets of the lines that repeat an earlier
// one. Same tells whether lines with equal hashes are the same in truth; each
// repeat is told to repeated, where given, with its first occurrence. It
// sorts keys.
func repeats(keys []listKey, same func(a, b uint32) bool, repeated func(first, again listKey)) []uint32 {
	slices.SortFunc(keys, func(a, b listKey) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.offset, b.offset))
	})
	var again []uint32
	for start := 0; start < len(keys); {
		end := start + 1
		for end < len(keys) && keys[end].hash == keys[start].hash {
			end++
		}
		again = append(again, repeatsWithin(keys[start:end], same, repeated)...)
		start = end
	}
	slices.Sort(again)
	return again
}

// repeatsWithin is repeats for keys of one hash, of which all but a chance in
// 2^64 are the same.
func repeatsWithin(keys []listKey, same func(a, b uint32) bool, repeated func(first, again listKey)) []uint32 {
	if len(keys) == 1 {
		return nil
	}
	var again []uint32
	firsts := keys[:1:1]
	for _, k := range keys[1:] {
		i := slices.IndexFunc(firsts, func(f listKey) bool { return same(f.offset, k.offset) })
		if i < 0 {
			firsts = append(firsts, k)
			continue
		}
		again = append(again, k.offset)
		if repeated != nil {
			repeated(firsts[i], k)
		}
	}
	return again
}
