package ldapsync

import (
	"context"

	"github.com/dirpin/dirpin/internal/store"
)

// Over makes the Store of a synchronization of dirpin's database.
func Over(s *store.Store) Store { return database{s} }

type database struct{ s *store.Store }

func (d database) Read(ctx context.Context, f func(Reader) error) error {
	return d.s.Read(ctx, func(tx *store.Tx) error { return f(tx) })
}

func (d database) Write(ctx context.Context, f func(Writer) error) error {
	return d.s.Write(ctx, func(tx *store.Tx) error { return f(tx) })
}
