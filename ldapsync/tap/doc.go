// Package tap puts a fast lane under an LDAP client library.
//
// Libraries such as go-ldap decode each search entry into a tree of objects:
// some five hundred allocations and thirty kilobytes an entry. A [Conn] is a
// [net.Conn] that goes below such a library. It understands just enough of
// LDAP (RFC 4511) to see where one message ends and the next begins. Search
// entries that belong to a search with a [Handler] are decoded in place,
// without allocation, handed to it and swallowed; every other message passes
// through untouched, so that binding, controls, paging and synchronization
// stay with the library.
//
// # Use
//
// [Dial] connects, encrypts and returns a [Client]: a go-ldap connection whose
// method [Client.Stream] has a handler receive the entries of one search.
// Whoever has another library, or a socket already, calls [Open] and
// [Conn.Handle].
//
// # What a server may do
//
// What comes from the network is hostile until proven otherwise. Lengths that
// lie, indefinite lengths, trailing bytes, and messages above the bounds of
// [Options] end the connection with an error that says so ([ErrProtocol],
// [ErrTooLarge]); no message takes memory before its bytes have come. That
// holds for the messages that pass, too: what reaches the library is well
// formed, of bounded size, depth and number of elements.
//
// # Errors
//
// The library above flattens the error with which reading ends into a text.
// [Conn.Err] keeps it as it was: the handler's own, a [*PanicError] where it
// panicked, or what the network said.
//
// # Order
//
// Entries and, if the handler wants them, the intermediate responses of content
// synchronization (RFC 4533) come in the order in which the server sent them.
// What passes to the library arrives there after what was swallowed before it,
// never sooner.
package tap
