package hook

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"time"
)

// Secret signs calls by the Standard Webhooks specification. It never prints
// itself.
type Secret struct {
	// A function and not the key: fmt cannot look into it, however deep the Secret lies in what is printed.
	sign func(message []byte) (string, error)
}

// Format writes *** for every verb.
func (Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, "***") }

// LogValue returns *** for log/slog.
func (Secret) LogValue() slog.Value { return slog.StringValue("***") }

// secretForm matches the first of the two forms from its start only, as the reference does.
var secretForm = regexp.MustCompile(`^(v1,whsec_[A-Za-z0-9+/=]{32,88}|v1a,whpk_[A-Za-z0-9+/=]{44,}:whsk_[A-Za-z0-9+/=]{44,}$)`)

// ParseSecrets reads a list separated by "|" of v1,whsec_… (HMAC-SHA-256) and
// v1a,whpk_…:whsk_… (ed25519). An empty list is none. The error never repeats
// what was read. A key of the right form that cannot be decoded is found out by
// the call (mfa-hooks.md 3.2).
func ParseSecrets(list string) ([]Secret, error) {
	if list == "" {
		return nil, nil
	}
	var secrets []Secret
	for text := range strings.SplitSeq(list, "|") {
		if !secretForm.MatchString(text) {
			return nil, errors.New("invalid secret format")
		}
		if key, ok := strings.CutPrefix(text, "v1,whsec_"); ok {
			secrets = append(secrets, symmetric(key))
			continue
		}
		public, private, _ := strings.Cut(strings.TrimPrefix(text, "v1a,whpk_"), ":whsk_")
		secrets = append(secrets, asymmetric(public, private))
	}
	return secrets, nil
}

func symmetric(encoded string) Secret {
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return broken(err)
	}
	return Secret{sign: func(message []byte) (string, error) {
		mac := hmac.New(sha256.New, key)
		mac.Write(message)
		return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
	}}
}

// asymmetric takes the private key as its seed of 32 bytes or, as many tools
// write it, seed and public key.
func asymmetric(encodedPublic, encodedPrivate string) Secret {
	public, err := base64.StdEncoding.DecodeString(encodedPublic)
	if err != nil {
		return broken(err)
	}
	private, err := base64.StdEncoding.DecodeString(encodedPrivate)
	if err != nil {
		return broken(err)
	}
	if len(private) != ed25519.SeedSize && len(private) != ed25519.PrivateKeySize {
		return broken(errors.New("the private key has neither 32 nor 64 bytes"))
	}
	key := ed25519.NewKeyFromSeed(private[:ed25519.SeedSize])
	// Receivers hold the public key: signing with another one would look like an attack to them.
	if !bytes.Equal(public, key[ed25519.SeedSize:]) || len(private) == ed25519.PrivateKeySize && !bytes.Equal(private, key) {
		return broken(errors.New("the public key is not that of the private key"))
	}
	return Secret{sign: func(message []byte) (string, error) {
		return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(key, message)), nil
	}}
}

func broken(err error) Secret {
	err = fmt.Errorf("unable to create webhook, err: %w", err)
	return Secret{sign: func([]byte) (string, error) { return "", err }}
}

// signatures returns one signature for each secret. They are joined with a comma
// and a space where the specification has a space: receivers were written
// against the reference.
func signatures(secrets []Secret, id string, at time.Time, body []byte) (string, error) {
	message := append(fmt.Appendf(nil, "%s.%d.", id, at.Unix()), body...)
	all := make([]string, 0, len(secrets))
	for _, secret := range secrets {
		if secret.sign == nil {
			return "", errors.New("invalid signature format")
		}
		one, err := secret.sign(message)
		if err != nil {
			return "", err
		}
		all = append(all, one)
	}
	return strings.Join(all, ", "), nil
}
