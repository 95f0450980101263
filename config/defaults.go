package config

import (
	"path/filepath"
	"time"
)

const day = 24 * time.Hour

// Default returns what an empty configuration file means, with everything
// below stateDir.
func Default(stateDir string) *Config {
	return &Config{
		StateDir:      stateDir,
		Store:         Store{SQLite: filepath.Join(stateDir, "dirpin.db")},
		KeyFile:       Secret{File: filepath.Join(stateDir, "key")},
		Log:           Log{Level: "info", Format: "text"},
		Watch:         []Watch{defaultWatch(stateDir)},
		VoicemailMode: "first",
		RecoverWithin: time.Hour,
		RetryWithin:   7 * day,
		Late:          time.Hour,
		Credentials: Credentials{
			PIN:      Policy{MinLength: 4, MaxLength: 8, ForbidTrivial: true, History: 3, Expires: 180 * day, Hash: "argon2id"},
			Password: Policy{MinLength: 8, History: 5, Hash: "argon2id"},
			Lockout:  Lockout{Attempts: 5, Within: 30 * time.Minute, For: 15 * time.Minute},
		},
		Keep: Keep{Jobs: 365 * day, Reports: 365 * day, Accepted: 90 * day, Rejected: 7 * day},
	}
}

func defaultWatch(stateDir string) Watch {
	return Watch{
		Name:    "main",
		Dir:     filepath.Join(stateDir, "jobs"),
		Lists:   filepath.Join(stateDir, "lists"),
		Reports: filepath.Join(stateDir, "reports"),
		Settle:  time.Second,
		Owners:  defaultOwners(),
		Plain:   true,
		Trust:   "owner",
	}
}

func defaultAgreement() Agreement {
	return Agreement{
		Method:     "auto",
		Interval:   15 * time.Minute,
		FullEvery:  day,
		PageSize:   1000,
		Timeout:    30 * time.Second,
		Grace:      day,
		ReplicaLag: time.Hour,
		Passwords:  "directory",
		Guard: Guard{
			MaxDeactivate: Limit{N: 10, Percent: true},
			Window:        day,
			MaxBlank:      Limit{N: 10, Percent: true},
		},
	}
}

func defaultVoicemail() Voicemail {
	return Voicemail{
		NoMailbox:   "fail",
		Timeout:     10 * time.Second,
		Retries:     4,
		Concurrency: 8,
		PauseMax:    day,
	}
}

// unityRate is how many users a second Unity Connection gets unless the
// configuration says otherwise.
const unityRate = 50
