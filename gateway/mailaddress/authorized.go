package mailaddress

import "strings"

// Authorized reports whether mail may be sent to an address where GOTRUE_EXTERNAL_EMAIL_AUTHORIZED_ADDRESSES is a list (core.md
// 9.6): every address when it is empty, else those on it, with or without a +label of the person's own.
func Authorized(list []string, address string) bool {
	if len(list) == 0 {
		return true
	}
	address = withoutLabel(address)
	for _, entry := range list {
		if equalASCII(entry, address) {
			return true
		}
	}
	return false
}

// withoutLabel cuts +label off the local part.
func withoutLabel(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	local, label, _ := strings.Cut(address[:at], "+")
	if label == "" {
		return address
	}
	return local + address[at:]
}

// equalASCII ignores the case of ASCII letters only. Under Unicode's rules the letters ſ and the sign of the Kelvin equal s and k, but the mailbox of that name is
// somebody else's.
func equalASCII(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lowerASCII(a[i]) != lowerASCII(b[i]) {
			return false
		}
	}
	return true
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}
