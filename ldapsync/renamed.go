package ldapsync

import (
	"context"
	"fmt"
	"slices"

	"github.com/dirpin/dirpin/internal/roster"
)

// rename moves over what the agreement had under another name, once, where the
// configuration says so.
func (r *run) rename(ctx context.Context) error {
	from, to := r.o.Agreement.RenamedFrom, r.o.Agreement.Name
	if from == "" {
		return nil
	}
	var known []roster.Agreement
	err := r.o.Store.Read(ctx, func(tx Reader) (err error) {
		known, err = tx.SyncAgreements()
		return err
	})
	if err != nil {
		return r.storeError("reading which agreements there are", err)
	}
	has := func(name string) bool {
		return slices.ContainsFunc(known, func(a roster.Agreement) bool { return a.Name == name })
	}
	switch {
	case !has(from): // done before
		return nil
	case has(to):
		return configError(fmt.Errorf("%s: renamed_from: %s has users here, and %s has too: end %[2]s with `dirpin agreements remove %[2]s`, or take renamed_from away", to, from, to))
	case r.o.DryRun:
		return configError(fmt.Errorf("%s: a dry run cannot say what a renamed agreement comes to: run `dirpin sync %[1]s` once", to))
	}
	if err := r.o.Store.Write(ctx, func(tx Writer) error { return tx.SyncRename(from, to) }); err != nil {
		return r.storeError("renaming "+from, err)
	}
	r.o.Log.Info(fmt.Sprintf("%s: everything of %s belongs to it now", to, from))
	return nil
}

// checkRenamed refuses an agreement without a past that is about the very same
// people as one that is configured no more.
func (r *run) checkRenamed(ctx context.Context) error {
	if r.state.Seq != 0 || r.o.Configured == nil {
		return nil
	}
	var known []roster.Agreement
	err := r.o.Store.Read(ctx, func(tx Reader) (err error) {
		known, err = tx.SyncAgreements()
		return err
	})
	if err != nil {
		return r.storeError("reading which agreements there are", err)
	}
	for _, a := range known {
		if a.ScopeFP == r.facts.ScopeFP && a.ScopeFP != "" && sameDirectory(a.Directory, r.facts.Identity) && !slices.Contains(r.o.Configured, a.Name) {
			return configError(fmt.Errorf("%s: it is about the same people as %s, which is configured no more: was it renamed? then say `renamed_from: %[2]s`; else end the old one with `dirpin agreements remove %[2]s`",
				r.o.Agreement.Name, a.Name))
		}
	}
	return nil
}
