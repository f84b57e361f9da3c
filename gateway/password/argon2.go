package password

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"regexp"
	"strconv"

	"golang.org/x/crypto/argon2"
)

// The most that an argon2 hash may ask for (core.md 10.4).
const (
	mostMemory  = 1 << 20 // KiB
	mostPasses  = 20
	mostThreads = 16
)

// Other versions, argon2d, keyid= and data= do not match and are unusable.
var argon2Form = regexp.MustCompile(
	`^\$argon2(id?)\$v=19\$m=([0-9]{1,9}),t=([0-9]{1,9}),p=([0-9]{1,9})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$`)

type argon2Hash struct {
	derive         func(password, salt []byte, passes, memory uint32, threads uint8, length uint32) []byte
	memory, passes uint32
	threads        uint8
	salt, sum      []byte
}

func parseArgon2(stored string) (hash, error) {
	found := argon2Form.FindStringSubmatch(stored)
	if found == nil {
		return nil, fmt.Errorf("%w: not an argon2i or argon2id hash of version 19", ErrUnusable)
	}
	out := argon2Hash{derive: argon2.Key}
	if found[1] == "id" {
		out.derive = argon2.IDKey
	}
	var limited [3]uint64
	for i, limit := range []uint64{mostMemory, mostPasses, mostThreads} {
		value, err := strconv.ParseUint(found[2+i], 10, 32)
		if err != nil || value < 1 || value > limit {
			return nil, fmt.Errorf("%w: argon2 %c=%s is not between 1 and %d", ErrUnusable, "mtp"[i], found[2+i], limit)
		}
		limited[i] = value
	}
	out.memory, out.passes, out.threads = uint32(limited[0]), uint32(limited[1]), uint8(limited[2]) //nolint:gosec // limited above
	var err error
	if out.salt, err = base64.RawStdEncoding.DecodeString(found[5]); err != nil || len(out.salt) == 0 {
		return nil, fmt.Errorf("%w: argon2 salt is not base64", ErrUnusable)
	}
	if out.sum, err = base64.RawStdEncoding.DecodeString(found[6]); err != nil || len(out.sum) == 0 {
		return nil, fmt.Errorf("%w: argon2 hash is not base64", ErrUnusable)
	}
	return out, nil
}

func (h argon2Hash) matches(password string) (bool, error) {
	length := uint32(len(h.sum)) //nolint:gosec // a stored hash is far from 4 GiB
	made := h.derive([]byte(password), h.salt, h.passes, h.memory, h.threads, length)
	return subtle.ConstantTimeCompare(made, h.sum) == 1, nil
}

func (argon2Hash) current() bool { return false }
