// Package voicemail pushes PINs to the system that owns them. A PIN may be
// committed here only after that system accepted it, so everything turns on
// telling three things apart: a request that never left, one that was answered,
// and one whose answer was lost.
//
// A Connector makes one attempt and says which of the three it was. A System
// makes a leg of attempts: it retries, limits the rate, opens a circuit
// breaker, sends one canary before the others and stops at a denial; what a
// leg's answers add up to is the table in settle.go. A Router picks the System
// of a user. The breaker is its own small state machine (gate.go) because the
// one of failsafe-go knows no legs, no canary, no Retry-After and no denial, and
// beside it all four would need the same lock again.
//
// # What a hook may rely on
//
// The body of a request is made once, journalled by the caller and sent as it
// is at every attempt, with the same request id. Only System repeats a request:
// net/http is kept from it (http_wire.go).
//
// An exec hook is started without a shell, in the root folder, in a process
// group of its own, with the request on stdin and only these variables: PATH,
// HOME, USER, LOGNAME, LANG, LC_*, TZ, TMPDIR, and on Windows those without
// which programs do not start. What else it needs it reads from files. When it
// ends, what it left running in its group is killed: a push that goes on
// unseen could land after a newer one. On Linux it is killed when dirpin dies.
//
// A stream hook is started like an exec hook, once for many requests; it is
// told to end by the end of its stdin.
//
// An http hook is reached directly, never through a proxy that happens to be
// named in the environment. With a CA file only that file is trusted. A secret
// that begins with whsec_ is base64, as Standard Webhooks says; any other is
// taken as it is.
//
// Words of a hook reach logs and reports in one line without control
// characters, at most 200 bytes, with the PIN cut out however it was encoded.
package voicemail
