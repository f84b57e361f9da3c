package password

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"golang.org/x/crypto/bcrypt"
)

// highestCost keeps one imported hash from holding a worker for minutes: 18 is
// about twenty seconds, 31 would be two days.
const highestCost = 18

var bcryptForm = regexp.MustCompile(`^\$2[abxy]?\$([0-9]{2})\$[./A-Za-z0-9]{53}$`)

type bcryptHash struct {
	text []byte
	cost int
}

func parseBcrypt(stored string) (hash, error) {
	found := bcryptForm.FindStringSubmatch(stored)
	if found == nil {
		return nil, ErrUnreadable
	}
	level, err := strconv.Atoi(found[1])
	if err != nil || level < bcrypt.MinCost || level > highestCost {
		return nil, fmt.Errorf("%w: bcrypt cost %s is not between %d and %d", ErrUnreadable, found[1], bcrypt.MinCost, highestCost)
	}
	return bcryptHash{text: []byte(stored), cost: level}, nil
}

func (h bcryptHash) matches(password string) (bool, error) {
	err := bcrypt.CompareHashAndPassword(h.text, cut(password))
	if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return true, nil
}

func (h bcryptHash) current() bool { return h.cost >= cost }
