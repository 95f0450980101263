package ldapsync_test

import (
	"path/filepath"
	"testing"

	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/ldapsync"
	"github.com/dirpin/dirpin/ldapsync/storetest"
)

// The database keeps what the suite asks of every store.
func TestDatabase(t *testing.T) {
	storetest.Run(t, func(t *testing.T) ldapsync.Store {
		s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "dirpin.db")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return ldapsync.Over(s)
	})
}
