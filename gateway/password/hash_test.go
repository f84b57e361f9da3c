package password

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// Hashes that others published: crypt_blowfish's for bcrypt, the reference
// implementation's for argon2, and the one of Firebase's scrypt repository.
func TestPublishedHashesVerify(t *testing.T) {
	t.Parallel()
	const (
		starred  = "05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
		firebase = "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==" +
			"$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="
	)
	for _, c := range []struct{ name, stored, password string }{
		{"bcrypt 2a", "$2a$" + starred, "U*U"},
		{"bcrypt 2b", "$2b$" + starred, "U*U"},
		{"bcrypt 2y", "$2y$" + starred, "U*U"},
		{"bcrypt 2x", "$2x$" + starred, "U*U"},
		{"bcrypt 2", "$2$" + starred, "U*U"},
		{"bcrypt, longer password", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a", "U*U*U"},
		{"bcrypt, empty password", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy", ""},
		{"argon2id", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "password"},
		{"argon2id, 64 MiB", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password"},
		{"argon2i", "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8", "password"},
		{"Firebase scrypt", firebase, "user1password"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if err := CheckFormat(c.stored); err != nil {
				t.Errorf("CheckFormat: %v", err)
			}
			ok, rehash, err := Verify(c.stored, c.password)
			if !ok || !rehash || err != nil {
				t.Errorf("the right password: %v, %v, %v", ok, rehash, err)
			}
			ok, rehash, err = Verify(c.stored, c.password+"!")
			if ok || rehash || err != nil {
				t.Errorf("a wrong password: %v, %v, %v", ok, rehash, err)
			}
		})
	}
}

func TestHashIsBcryptOfCostTen(t *testing.T) {
	t.Parallel()
	made, err := Hash("correct-horse-7")
	if err != nil || !strings.HasPrefix(made, "$2a$10$") || len(made) != 60 {
		t.Fatalf("Hash = %s, %v", made, err)
	}
	if ok, rehash, err := Verify(made, "correct-horse-7"); !ok || rehash || err != nil {
		t.Errorf("Verify = %v, %v, %v", ok, rehash, err)
	}
	if _, err := Hash(strings.Repeat("x", 73)); err == nil {
		t.Error("a password of 73 bytes was hashed")
	}
}

func TestOnlyTheFirst72BytesCount(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 36)
	made, err := bcrypt.GenerateFromPassword([]byte(long), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	if ok, rehash, err := Verify(string(made), long); !ok || !rehash || err != nil {
		t.Errorf("72 bytes: %v, %v, %v", ok, rehash, err)
	}
	// Hash could not take it, so that nobody must ask for a rehash.
	if ok, rehash, err := Verify(string(made), long+"more"); !ok || rehash || err != nil {
		t.Errorf("more than 72 bytes: %v, %v, %v", ok, rehash, err)
	}
	if TooLong(long) || !TooLong(long+"x") {
		t.Error("TooLong does not count bytes to 72")
	}
}

func TestTheDummyIsAHashLikeAnyOther(t *testing.T) {
	t.Parallel()
	ok, rehash, err := Verify(DummyHash(), "correct-horse-7")
	if ok || rehash || err != nil {
		t.Errorf("Verify = %v, %v, %v", ok, rehash, err)
	}
	if level, err := bcrypt.Cost([]byte(DummyHash())); level != 10 || err != nil {
		t.Errorf("cost %d, %v", level, err)
	}
}

func TestUnreadableHashes(t *testing.T) {
	t.Parallel()
	sum := ".E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
	for _, stored := range []string{
		"", "x", "plain-text-password", "$1$salt$hash", "$2c$05$CCCCCCCCCCCCCCCCCCCCC" + sum, "$3a$05$CCCCCCCCCCCCCCCCCCCCC" + sum,
		"$2a$5$CCCCCCCCCCCCCCCCCCCCC" + sum, "$2a$03$CCCCCCCCCCCCCCCCCCCCC" + sum, "$2a$19$CCCCCCCCCCCCCCCCCCCCC" + sum,
		"$2a$31$CCCCCCCCCCCCCCCCCCCCC" + sum, "$2a$05$CCCCCCCCCCCCCCCCCCCC" + sum, "$2a$05$CCCCCCCCCCCCCCCCCCCCCC" + sum,
		"$2a$05$CCCCCCCCCCCCCCCCCCCC$" + sum, "$2a$05$CCCCCCCCCCCCCCCCCCCCC" + sum + "\n", "$pbkdf2$x", `{"key_id":"a","alg":"aes-gcm-hkdf"}`,
	} {
		if err := CheckFormat(stored); !errors.Is(err, ErrUnreadable) {
			t.Errorf("CheckFormat(%q) = %v", stored, err)
		}
		if ok, _, err := Verify(stored, "U*U"); ok || !errors.Is(err, ErrUnreadable) {
			t.Errorf("Verify(%q) = %v, %v", stored, ok, err)
		}
	}
}

func TestUnusableHashes(t *testing.T) {
	t.Parallel()
	const salted = "$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	for _, stored := range []string{
		"$argon2", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$", "$argon2id$v=19$m=256,t=2,p=1$$nf65EOg", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$A",
		"$argon2d$v=19$m=256,t=2,p=1" + salted, "$argon2id$v=16$m=256,t=2,p=1" + salted, "$argon2id$m=256,t=2,p=1" + salted,
		"$argon2id$v=19$m=256,t=2,p=1,keyid=AAAA" + salted, "$argon2id$v=19$m=256,t=2,p=1,data=AAAA" + salted,
		"$argon2id$v=19$m=1048577,t=2,p=1" + salted, "$argon2id$v=19$m=256,t=21,p=1" + salted, "$argon2id$v=19$m=256,t=2,p=17" + salted,
		"$argon2id$v=19$m=0,t=2,p=1" + salted, "$argon2id$v=19$m=256,t=0,p=1" + salted, "$argon2id$v=19$m=256,t=2,p=0" + salted,
		"$argon2id$v=19$m=4294967552,t=2,p=1" + salted, "$argon2id$v=19$m=256,t=2,p=257" + salted,
		"$fbscrypt", "$fbscrypt$v=2,n=4,r=8,p=1$YQ==$YQ==", "$fbscrypt$v=1,n=0,r=8,p=1$YQ==$YQ==", "$fbscrypt$v=1,n=4,r=0,p=1$YQ==$YQ==",
		"$fbscrypt$v=1,n=4,r=8,p=0$YQ==$YQ==", "$fbscrypt$v=1,n=40,r=8,p=1$YQ==$YQ==", "$fbscrypt$v=1,n=21,r=8,p=1$YQ==$YQ==",
		"$fbscrypt$v=1,n=4,r=99999999,p=1$YQ==$YQ==", "$fbscrypt$v=1,n=4,r=8,p=17$YQ==$YQ==", "$fbscrypt$v=1,n=4,r=8,p=1$$YQ==",
		"$fbscrypt$v=1,n=4,r=8,p=1$YQ==$", "$fbscrypt$v=1,n=4,r=8,p=1$Y$YQ==", "$fbscrypt$v=1,n=4,r=8,p=1,sk=Y$YQ==$YQ==",
	} {
		if err := CheckFormat(stored); !errors.Is(err, ErrUnusable) {
			t.Errorf("CheckFormat(%q) = %v", stored, err)
		}
	}
	if ok, rehash, err := Verify("$argon2id$v=19$m=1048577,t=2,p=1"+salted, "password"); ok || rehash || !errors.Is(err, ErrUnusable) {
		t.Errorf("Verify = %v, %v, %v", ok, rehash, err)
	}
	if err := CheckFormat("$argon2id$v=19$m=256,t=2,p=1" + salted + strings.Repeat("A", 200)); !errors.Is(err, ErrUnusable) {
		t.Errorf("a hash longer than its column: %v", err)
	}
	// Without a signer key there is nothing to encrypt, and nothing that matches.
	if ok, _, err := Verify("$fbscrypt$v=1,n=4,r=8,p=1$YQ==$YQ==", ""); ok || err != nil {
		t.Errorf("no signer key: %v, %v", ok, err)
	}
}
