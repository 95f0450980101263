package winservice

import (
	"log/slog"
	"strings"
)

// Event is what a message of the log is in the Event Log. Numbers are stable:
// monitoring asks for them.
type Event struct {
	ID     uint32
	Prefix string // how the message begins, in the language of the log
	Means  string // for docs/windows.md
}

// Ids of messages that have none of their own, by level.
const (
	OtherInfo    = 100
	OtherWarning = 200
	OtherError   = 300
)

// Ids of what the service says before there is a log, or when there is none more.
const (
	CannotRun = 1
	Fault     = 2
)

// Events are the messages that have a number of their own. Numbers up to 1,000 are
// those that Windows' own message file has.
func Events() []Event {
	return []Event{
		{CannotRun, "the service ends", "the service could not start or go on; the text says why, with the exit code"},
		{Fault, "internal fault", "a fault of dirpin: please report it"},
		{10, "ready", "the service works"},
		{11, "stopped", "the service has stopped in order"},
		{12, "reading the configuration", "it was told to read its configuration anew"},
		{13, "the configuration is taken up", "it works with the new configuration"},
		{14, "the configuration is refused", "the new configuration has a fault, and the old one stays; the messages before it (300) say which"},
		{20, "accepted", "a dropped file has become a job"},
		{21, "refused", "a dropped file was refused; its reason file says why"},
		{22, "watch folder:", "something is wrong with a watch folder or with a file in it"},
		{30, "the job has ended", "a job has ended"},
		{31, "the job is held", "a job is held by a guard or for approval"},
		{32, "the job was stopped", "a job was interrupted, and goes on later"},
		{33, "the job waits", "a job waits for a voicemail system, or for others"},
		{34, "working on the job", "a job cannot go on, and is tried again"},
		{35, "the time of a job has come", "a schedule has fired"},
		{40, "synchronized", "a directory was synchronized, and something changed"},
		{41, "the guard holds", "a synchronization would have lost too many users"},
		{50, "the stream hook died", "a stream hook has ended by itself"},
	}
}

// eventID returns the number of a message.
func eventID(message string, level slog.Level) uint32 {
	for _, e := range Events() {
		if strings.HasPrefix(message, e.Prefix) {
			return e.ID
		}
	}
	switch {
	case level >= slog.LevelError:
		return OtherError
	case level >= slog.LevelWarn:
		return OtherWarning
	}
	return OtherInfo
}
