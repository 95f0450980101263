// Package logon verifies a PIN or password against the store: it counts every
// attempt before it compares, so that guessing in parallel gains nothing, and
// it never writes over a secret that was changed meanwhile.
package logon

import (
	"context"
	"errors"
	"time"

	"github.com/dirpin/dirpin/config"
	"github.com/dirpin/dirpin/internal/credential"
	"github.com/dirpin/dirpin/internal/secret"
	"github.com/dirpin/dirpin/internal/store"
)

// Result is what a verification came to.
type Result string

// The results. An unknown user is Wrong: the answer tells nobody who exists.
const (
	Right   Result = "right"
	Wrong   Result = "wrong"
	Locked  Result = "locked"
	Expired Result = "expired"
)

// Answer is the result, and what the user is to do.
type Answer struct {
	Result     Result
	MustChange bool // the secret is right, and must be changed now
}

// Verifier verifies secrets of one kind's policy.
type Verifier struct {
	Store   *store.Store
	Hasher  *credential.Hasher
	Lockout config.Lockout
	Expires time.Duration // 0: never
}

// Verify tells whether value is the user's secret of that kind. The error is
// credential.ErrUnknownKey where the secret was made under a key that is
// missing here: nothing is counted then.
func (v *Verifier) Verify(ctx context.Context, userID, kind string, value secret.Value) (Answer, error) {
	ref, c, locked, err := v.begin(ctx, userID, kind)
	if err != nil {
		return Answer{}, err
	}
	switch {
	case locked:
		return Answer{Result: Locked}, nil
	case c.Hash == "":
		v.Hasher.VerifyNobody(value)
		return Answer{Result: Wrong}, nil
	}
	ok, rehash, err := v.Hasher.Verify(credential.Kind(kind), c.Hash, value)
	if err != nil {
		return Answer{}, errors.Join(err, v.takeBack(ctx, ref, kind, c))
	}
	if !ok {
		return Answer{Result: Wrong}, nil
	}
	if err := v.right(ctx, ref, kind, c, value, rehash); err != nil {
		return Answer{}, err
	}
	if v.Expires > 0 && !c.DoesNotExpire && v.Store.Now().Sub(c.ChangedAt) > v.Expires {
		return Answer{Result: Expired, MustChange: c.MustChange}, nil
	}
	return Answer{Result: Right, MustChange: c.MustChange}, nil
}

// begin counts the attempt and returns the credential as it is then. Whoever
// makes the last allowed attempt locks with it; being right unlocks.
func (v *Verifier) begin(ctx context.Context, userID, kind string) (ref int64, c store.Credential, locked bool, err error) {
	err = v.Store.Write(ctx, func(tx *store.Tx) error {
		u, err := tx.User(userID)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		ref = u.ID
		if c, err = tx.Credential(ref, kind); err != nil || c.Version == 0 {
			return err
		}
		now := tx.Now()
		if c.Locked || c.LockedUntil.After(now) {
			locked = true
			return nil
		}
		if v.Lockout.Attempts == 0 || c.Hash == "" {
			return nil
		}
		v.count(&c, now)
		if _, err := tx.SetCredential(ref, kind, c); err != nil {
			return err
		}
		c.Version++
		return nil
	})
	return ref, c, locked, err
}

func (v *Verifier) count(c *store.Credential, now time.Time) {
	old := now.Sub(c.AttemptsSince) > v.Lockout.Within || now.Before(c.AttemptsSince)
	if !c.LockedUntil.IsZero() || c.Attempts > 0 && old { // it was locked, or long ago
		c.Attempts, c.LockedUntil = 0, time.Time{}
	}
	if c.Attempts == 0 {
		c.AttemptsSince = now
	}
	c.Attempts++
	if c.Attempts >= v.Lockout.Attempts {
		c.LockedUntil = now.Add(v.Lockout.For)
		if v.Lockout.For == 0 {
			c.Locked = true
		}
	}
}

// right forgets the attempts of a user who knew the secret, and hashes it anew
// where today's parameters ask for it. Both are dropped if the credential was
// changed meanwhile.
func (v *Verifier) right(ctx context.Context, ref int64, kind string, c store.Credential, value secret.Value, rehash bool) error {
	if rehash {
		hash, err := v.Hasher.Hash(credential.Kind(kind), value)
		if err != nil {
			return err
		}
		c.Hash = hash
	}
	if !rehash && c.Attempts == 0 {
		return nil
	}
	c.Attempts, c.AttemptsSince, c.LockedUntil = 0, time.Time{}, time.Time{}
	if v.Lockout.For == 0 {
		c.Locked = false
	}
	return v.Store.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.SetCredential(ref, kind, c)
		return err
	})
}

// takeBack uncounts an attempt that could not be compared.
func (v *Verifier) takeBack(ctx context.Context, ref int64, kind string, c store.Credential) error {
	if c.Attempts == 0 {
		return nil
	}
	c.Attempts--
	if c.Attempts < v.Lockout.Attempts {
		c.LockedUntil = time.Time{}
	}
	return v.Store.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.SetCredential(ref, kind, c)
		return err
	})
}
