package strictyaml

import "strings"

// Nearest returns the known word that s resembles, "" where there is none.
// Case, - and _ do not count.
func Nearest(s string, known []string) string {
	if len(s) > 64 {
		return ""
	}
	word := []rune(bare(s))
	best, bestDistance := "", 1<<30
	for _, k := range known {
		d := distance(word, []rune(bare(k)))
		if d < bestDistance && d <= min(2, max(1, len(k)/3)) && d < len(word) {
			best, bestDistance = k, d
		}
	}
	return best
}

func bare(s string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(s))
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that make b of a.
func distance(a, b []rune) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range a {
		now := make([]int, len(b)+1)
		now[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			now[j+1] = min(last[j]+cost, last[j+1]+1, now[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				now[j+1] = min(now[j+1], before[j-1]+1)
			}
		}
		before, last = last, now
	}
	return last[len(b)]
}
