package roster

import "time"

// Mark is where an incremental feed goes on.
type Mark struct {
	Agreement string
	Feed      string // syncrepl, dirsync, usn
	Provider  string // the server that it is good for; "" for every server of the directory
	Cookie    []byte
	ScopeFP   string // as Agreement has them, when the mark was taken
	MapFP     string
	Taken     time.Time
	Checksum  uint64 // of the rest; 0: there is no mark
}

// Container is an entry below which people are, or may be.
type Container struct {
	Key    string
	DNNorm string
}

// Order is what somebody asks of the holder of an agreement's lease.
type Order struct {
	ID        int64
	Agreement string
	At        time.Time
	Request   string // for the holder
	Holder    string // who carries it out; "": it waits
	Answer    string // of the holder; "": it is not done
}
