package gateway

import (
	"errors"
	"net/http"
	"regexp"
	"strings"

	"github.com/postern-auth/postern/gateway/mailaddress"
)

// mailForm is the form of addresses (contract core.md 3.5). SQL refuses others in its own words.
var mailForm = regexp.MustCompile("^[a-z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?" +
	`(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$`)

const longestMailAddress = 255

// checkMailAddress refuses an address that cannot receive mail (contract core.md 9.6), before a statement that may queue one for
// it. kind is the mail's, as errors name it. Mails that a hook sends are the hook's to judge.
func (s *Server) checkMailAddress(q *request, address, kind string) error {
	address = strings.ToLower(address)
	if s.policy.get().EmailHookEnabled || len(address) > longestMailAddress || !mailForm.MatchString(address) {
		return nil
	}
	ctx, cancel := q.outside()
	defer cancel()
	err := s.judges.addresses.Check(ctx, address)
	if err == nil {
		return nil
	}
	e := refuse(http.StatusBadRequest, "email_address_invalid", `Email address "`+address+`" is invalid`)
	if errors.Is(err, mailaddress.ErrBlocked) {
		e = refuse(http.StatusInternalServerError, "unexpected_failure", "Error sending "+kind+" email")
		e.Cause = err.Error()
	}
	return e
}
