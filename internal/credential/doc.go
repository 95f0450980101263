// Package credential keeps secrets: it hashes and verifies PINs and passwords,
// judges them by the policy, draws new ones, seals what must be read again,
// and holds the key ring under which all of this is done. It has no database
// and no network, and no value that passes through it appears in an error.
//
// What an attacker gains:
//   - the database alone: argon2id hashes of passwords; of PINs, hashes under
//     a pepper, which a million guesses do not open; no sealed value, no former
//     value.
//   - the key file alone: nothing.
//   - both: every PIN, since there are few of them; every sealed value that is
//     not yet erased.
//
// Values are taken as the bytes that were given: neither case, nor spaces, nor
// Unicode's normal forms are touched before hashing. The same bytes go to the
// voicemail system and the directory, and two systems that normalize
// differently would disagree about what the password is. Only comparisons with
// names and user ids fold, by user.Fold.
package credential
