// Package acl tells on Windows who may read or change a file or folder, and
// makes those that only administrators, the system and dirpin's service may use.
// What modes and owners are elsewhere, access lists are there.
//
// A list is judged by what it allows: entries that deny take away only, and are
// not looked at. The owner counts too, for he may write the list. An entry of a
// kind that is not known refuses the whole list.
package acl
