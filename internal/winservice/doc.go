// Package winservice is dirpin's Windows service: how it is installed and
// controlled, how it answers the service manager while it runs, and its Event Log.
//
// Windows restarts a service that vanishes, not one that says that it stopped. So
// a run that another start may mend ends without a word (the service manager logs
// 7031 and follows the recovery actions), and one that only an administrator can
// mend says that it stopped, with dirpin's exit code as the service-specific one.
package winservice

// Name is the service's, and that of its source in the Event Log.
const Name = "dirpin"
