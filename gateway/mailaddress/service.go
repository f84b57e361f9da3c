package mailaddress

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
)

// maxVerdict is how much of the service's answer is read, in bytes (mfa-hooks.md 6.3).
const maxVerdict = 32

// askService returns ErrInvalid when the service says in so many words that the address is not valid, and nil in every other
// case: a service that is down must not keep users from signing up.
func (c *Checker) askService(ctx context.Context, address string) error {
	if c.options.ServiceURL == "" {
		return nil
	}
	question, err := json.Marshal(map[string]string{"email": address})
	if err != nil {
		return nil //nolint:nilerr // what cannot be asked passes
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.options.ServiceURL, bytes.NewReader(question))
	if err != nil {
		return nil //nolint:nilerr // what cannot be asked passes
	}
	request.Header.Set("Content-Type", "application/json")
	for name, values := range c.options.ServiceHeaders {
		request.Header.Del(name)
		for _, value := range values {
			request.Header.Add(name, value)
		}
	}
	response, err := c.client.Do(request)
	if err != nil {
		return nil //nolint:nilerr // what cannot be asked passes
	}
	defer func() { _ = response.Body.Close() }()
	var verdict struct {
		Valid *bool `json:"valid"`
	}
	err = json.NewDecoder(io.LimitReader(response.Body, maxVerdict)).Decode(&verdict)
	if err != nil || response.StatusCode/100 != 2 || verdict.Valid == nil || *verdict.Valid {
		return nil //nolint:nilerr // only a plain "no" rejects
	}
	return ErrInvalid
}
