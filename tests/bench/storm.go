package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	stormClients = 16
	password     = "correct-horse-battery-staple-9"
)

// client keeps enough connections for refreshes that fall behind.
var client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 512}}

type session struct {
	mu      sync.Mutex
	Refresh string `json:"refresh_token"`
}

// latencies of refreshes at a fixed rate, counted from the moment at which each was due: a server that stalls cannot
// hide it by being asked less.
type latencies struct {
	rate, done      float64
	p50, p95, p99   time.Duration
	errors          int64
	loginsPerSecond float64
}

// compareWithStorm measures refreshes at a fixed rate, first alone and then while 16 clients sign in without a pause.
func compareWithStorm(ctx context.Context, o options, server *gatewayProcess) (quiet, storm latencies, err error) {
	sessions := make([]*session, 2*int(o.rate))
	for i := range sessions {
		sessions[i] = new(session)
		if err = post(ctx, server.url+"/signup", map[string]string{}, sessions[i]); err != nil {
			return quiet, storm, err
		}
	}
	addresses := make([]string, stormClients)
	for i := range addresses {
		addresses[i] = fmt.Sprintf("storm-%d@example.com", i)
		body := map[string]string{"email": addresses[i], "password": password}
		if err = post(ctx, server.url+"/signup", body, nil); err != nil {
			return quiet, storm, err
		}
	}
	length := 2 * o.time                                 // a p99 needs many
	refreshAtRate(ctx, o, server, sessions, time.Second) // warm up
	quiet = refreshAtRate(ctx, o, server, sessions, length)

	logins, stop := startLogins(ctx, server, addresses)
	time.Sleep(time.Second)
	before, begun := logins.Load(), time.Now()
	storm = refreshAtRate(ctx, o, server, sessions, length)
	storm.loginsPerSecond = float64(logins.Load()-before) / time.Since(begun).Seconds()
	stop()
	return quiet, storm, nil
}

// startLogins lets one client per address sign in over and over, and counts.
func startLogins(ctx context.Context, server *gatewayProcess, addresses []string) (done *atomic.Int64, stop func()) {
	done = new(atomic.Int64)
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for _, address := range addresses {
		all.Go(func() {
			body := map[string]string{"email": address, "password": password}
			for ctx.Err() == nil {
				if post(ctx, server.url+"/token?grant_type=password", body, nil) == nil {
					done.Add(1)
				}
			}
		})
	}
	return done, func() { cancel(); all.Wait() }
}

func refreshAtRate(ctx context.Context, o options, server *gatewayProcess, sessions []*session, length time.Duration) latencies {
	count := int(o.rate * length.Seconds())
	took := make([]time.Duration, count)
	result := latencies{rate: o.rate}
	var failed atomic.Int64
	var all sync.WaitGroup
	begun := time.Now()
	for i := range count {
		due := begun.Add(time.Duration(float64(i) / o.rate * float64(time.Second)))
		time.Sleep(time.Until(due))
		all.Go(func() {
			one := sessions[i%len(sessions)]
			one.mu.Lock()
			defer one.mu.Unlock()
			body := map[string]string{"refresh_token": one.Refresh}
			if post(ctx, server.url+"/token?grant_type=refresh_token", body, one) != nil {
				failed.Add(1)
			}
			took[i] = time.Since(due)
		})
	}
	all.Wait()
	result.done = float64(count) / time.Since(begun).Seconds()
	slices.Sort(took)
	at := func(share float64) time.Duration { return took[min(count-1, int(share*float64(count)))] }
	result.p50, result.p95, result.p99, result.errors = at(.5), at(.95), at(.99), failed.Load()
	return result
}

// post sends JSON and reads the answer, into when it is not nil.
func post(ctx context.Context, url string, body, into any) error {
	return postWith(ctx, "", "", url, body, into)
}

// postWith is post with a header, unless its value is empty.
func postWith(ctx context.Context, header, value, url string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if value != "" {
		request.Header.Set(header, value)
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // read only
	raw, err = io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", answer.Status, raw)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(raw, into)
}
