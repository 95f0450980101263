package daemon

// holderFile is where a lock's holder says who it is: Windows lets nobody read or
// write what another has locked.
func holderFile(lock string) string { return lock + ".by" }
