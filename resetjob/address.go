package resetjob

import (
	"errors"
	"fmt"

	"github.com/dirpin/dirpin/internal/store"
	"github.com/dirpin/dirpin/internal/user"
)

// Whom a job mails its values to; everything else is an address.
const (
	toUser    = "user"
	toManager = "manager"
)

// address returns where the values of a user are mailed to, if to themselves or
// to their manager.
func (j *judge) address(u *user.User, managerMail func(string) (string, error)) (string, error) {
	switch j.def.Deliver.MailTo {
	case toUser:
		return u.Mail, nil
	case toManager:
		return managerMail(u.Manager)
	}
	return "", nil
}

// unreachable says why nothing can be mailed to an address; "" where it can, or
// nothing is: whoever is changed and cannot be told of it would be locked out.
func (j *judge) unreachable(address string) string {
	to := j.def.Deliver.MailTo
	switch {
	case to != toUser && to != toManager:
		return ""
	case address == "":
		return "the " + to + " has no mail address"
	case !isMailAddress(address):
		return fmt.Sprintf("the mail address of the %s is none: %q", to, address)
	case j.mail != nil && !j.mail.Allows(address):
		return fmt.Sprintf("mail.allow does not have %s, the address of the %s", address, to)
	}
	return ""
}

// mailOf returns the mail address of the user with that id; "" where there is
// none.
func mailOf(tx *store.Tx, userID string) (string, error) {
	if userID == "" {
		return "", nil
	}
	u, err := tx.User(userID)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return u.Mail, nil
}
