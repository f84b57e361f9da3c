package http_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// TestMain runs more tests at once than there are cores, unless -parallel says how many: most of the time they wait for
// PostgreSQL to copy and drop their databases. Not so where hashing is slow: the race detector makes bcrypt fifteen times
// slower, and requests would run into their time limits. `make test-go` leaves that one package out of it.
func TestMain(m *testing.M) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		if err := chooseParallel(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}

func chooseParallel() error {
	best := time.Hour
	for range 3 { // a busy machine may slow one down
		began := time.Now()
		if _, err := bcrypt.GenerateFromPassword([]byte(goodPassword), 6); err != nil {
			return err
		}
		best = min(best, time.Since(began))
	}
	if best > 25*time.Millisecond {
		fmt.Fprintln(os.Stderr, "hashing is slow: with -race, add -gcflags=golang.org/x/crypto/blowfish=-race=false")
		return nil
	}
	return flag.Set("test.parallel", "6")
}
