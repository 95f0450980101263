package storetest

import (
	"testing"

	"github.com/dirpin/dirpin/ldapsync"
)

func TestMemoryIsAStore(t *testing.T) {
	Run(t, func(*testing.T) ldapsync.Store { return NewMemory() })
}
