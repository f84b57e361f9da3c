package token

import (
	"testing"
)

const usualClaims = `{"iss":"http://127.0.0.1:8081","sub":"0f2b9a3c-5f0e-4b43-9f9a-0a6f2f6b7c11","aud":"authenticated","exp":4102444800,"iat":1700000000,` +
	`"email":"ada@example.com","phone":"","app_metadata":{"provider":"email","providers":["email"]},"user_metadata":{"email":"ada@example.com",` +
	`"email_verified":true,"phone_verified":false,"sub":"0f2b9a3c-5f0e-4b43-9f9a-0a6f2f6b7c11"},"role":"authenticated","aal":"aal1",` +
	`"amr":[{"method":"password","timestamp":1700000000}],"session_id":"7b1d1a52-64a0-4d79-a3cf-6a1d0c7d8a10","is_anonymous":false}`

func BenchmarkVerifyHS256(b *testing.B) {
	k, err := NewKeyring("a-secret-of-more-than-thirty-two-bytes", "", "", nil)
	if err != nil {
		b.Fatal(err)
	}
	signed, err := k.Sign([]byte(usualClaims))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Verify(signed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignHS256(b *testing.B) {
	k, err := NewKeyring("a-secret-of-more-than-thirty-two-bytes", "", "", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Sign([]byte(usualClaims)); err != nil {
			b.Fatal(err)
		}
	}
}
