package hook

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// The message of the vectors in the Standard Webhooks project's own tests.
const (
	vectorID   = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorTime = 1614265330
	vectorBody = `{"test": 2432232314}`
)

// keyPair returns a secret of ed25519 in its two spellings, and the public key.
func keyPair(seed []byte) (fromSeed, fromWhole string, public ed25519.PublicKey) {
	key := ed25519.NewKeyFromSeed(seed)
	public = ed25519.PublicKey(key[ed25519.SeedSize:])
	spell := func(private []byte) string {
		return "v1a,whpk_" + base64.StdEncoding.EncodeToString(public) + ":whsk_" + base64.StdEncoding.EncodeToString(private)
	}
	return spell(seed), spell(key), public
}

func mustParse(t testing.TB, list string) []Secret {
	t.Helper()
	secrets, err := ParseSecrets(list)
	if err != nil {
		t.Fatal(err)
	}
	return secrets
}

func TestPublishedVectors(t *testing.T) {
	t.Parallel()
	seed, err := base64.StdEncoding.DecodeString("VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=")
	if err != nil {
		t.Fatal(err)
	}
	fromSeed, fromWhole, _ := keyPair(seed)
	const (
		symmetricSecret = "v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
		symmetricWant   = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
		asymmetricWant  = "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag=="
	)
	for _, one := range []struct{ name, list, want string }{
		{"symmetric", symmetricSecret, symmetricWant},
		{"asymmetric, private key as its seed", fromSeed, asymmetricWant},
		{"asymmetric, private key whole", fromWhole, asymmetricWant},
		{"several, in order", fromSeed + "|" + symmetricSecret, asymmetricWant + ", " + symmetricWant},
		{"none", "", ""},
	} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			got, err := signatures(mustParse(t, one.list), vectorID, time.Unix(vectorTime, 0), []byte(vectorBody))
			if err != nil || got != one.want {
				t.Errorf("got %q, %v\nwant %q", got, err, one.want)
			}
		})
	}
}

func TestSecretsOfAnotherFormAreRefused(t *testing.T) {
	t.Parallel()
	good, _, _ := keyPair(make([]byte, 32))
	for _, list := range []string{
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "v1,whsec_tooShort", "v2,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw|", "|", " ", good + "x!", strings.Replace(good, ":whsk_", ":whpk_", 1),
		good[:len(good)-2],
	} {
		secrets, err := ParseSecrets(list)
		if err == nil || err.Error() != "invalid secret format" || secrets != nil {
			t.Errorf("%q: got %d secrets, %v", list, len(secrets), err)
		}
	}
}

func TestKeysThatCannotBeDecodedAreFoundByTheCall(t *testing.T) {
	t.Parallel()
	public := base64.StdEncoding.EncodeToString(make([]byte, 32))
	other, _, _ := keyPair(make([]byte, 32))
	_, private, _ := strings.Cut(other, ":")
	for _, one := range []struct{ list, want string }{
		{"v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw!", "illegal base64 data at input byte 32"},
		{"v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS=w", "illegal base64 data at input byte 32"},
		{"v1a,whpk_" + public + ":" + private, "the public key is not that of the private key"},
		{"v1a,whpk_" + public + ":whsk_" + public + "AAAA", "illegal base64 data at input byte 44"},
		{"v1a,whpk_" + public + "AAAA:" + private, "illegal base64 data at input byte 44"},
		{
			"v1a,whpk_" + public + ":whsk_" + base64.StdEncoding.EncodeToString(make([]byte, 33)),
			"the private key has neither 32 nor 64 bytes",
		},
	} {
		_, err := signatures(mustParse(t, one.list), "id", time.Now(), nil)
		if want := "unable to create webhook, err: " + one.want; err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", one.list, err, want)
		}
	}
	if _, err := signatures([]Secret{{}}, "id", time.Now(), nil); err == nil {
		t.Error("a secret that is none signs")
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	const key = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	secrets := mustParse(t, "v1,whsec_"+key)
	hidden := struct{ inner []Secret }{secrets}
	var text strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		fmt.Fprintf(&text, verb+verb+verb, secrets[0], secrets, hidden)
	}
	slog.New(slog.NewTextHandler(&text, nil)).Info("x", "one", secrets[0], "all", secrets)
	encoded, err := json.Marshal(secrets)
	if err != nil {
		t.Fatal(err)
	}
	all := text.String() + string(encoded)
	for _, leak := range []string{key, string(raw), fmt.Sprintf("%x", raw), strings.Trim(fmt.Sprintf("%d", raw), "[]")} {
		if strings.Contains(all, leak) {
			t.Errorf("printed: %s", all)
		}
	}
}
