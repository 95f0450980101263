package ldapsync_test

import (
	"path/filepath"
	"testing"

	"github.com/dirpin/dirpin/internal/lab"
	"github.com/dirpin/dirpin/internal/labstore"
	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/ldapsync"
	"github.com/dirpin/dirpin/ldapsync/storetest"
)

// Both databases keep what the suite asks of every store.
func TestDatabase(t *testing.T) {
	for kind, place := range map[string]func(*testing.T) store.Options{
		"sqlite":   func(t *testing.T) store.Options { return store.Options{Path: filepath.Join(t.TempDir(), "dirpin.db")} },
		"postgres": func(t *testing.T) store.Options { return store.Options{URL: lab.SharedPostgres(t).Schema(t)} },
	} {
		t.Run(kind, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) ldapsync.Store { return ldapsync.Over(labstore.At(t, place(t))) })
		})
	}
}
