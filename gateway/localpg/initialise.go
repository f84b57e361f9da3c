package localpg

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/postern-auth/postern/gateway/config"
)

// makeDir makes the cluster's folder and sees to it that the server's user can work in it.
func makeDir(dir string, owner *account) error {
	// The folder itself is handed over, so only the way to it can be closed. Asked first, so that nothing is left in a place
	// that will not do, and again for the folders just made, which the umask may have closed.
	if err := owner.check(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the data folder inside is 0700
		return err
	}
	if err := owner.check(dir); err != nil {
		return err
	}
	return owner.give(dir)
}

// programs chooses the folder of the programs: existing data can only be opened by the major version that made them.
func programs(binDir, data string) (string, error) {
	made := 0
	if body, err := os.ReadFile(filepath.Join(data, "PG_VERSION")); err == nil {
		if made, err = strconv.Atoi(strings.TrimSpace(string(body))); err != nil {
			return "", fmt.Errorf("%s: %w", filepath.Join(data, "PG_VERSION"), err)
		}
	}
	if binDir == "" {
		if made == 0 || os.Getenv("POSTERN_PG_BIN") != "" {
			var err error
			if binDir, err = Binaries(); err != nil {
				return "", err
			}
		}
		for _, inst := range Installations() {
			if binDir == "" && inst.Major == made {
				return inst.Dir, nil
			}
		}
		if binDir == "" {
			return "", fmt.Errorf("the data in %s were made by PostgreSQL %d, and its programs are not on this machine: "+
				"install that version (`make clients` has the one of npm), or remove the folder to begin anew", data, made)
		}
	}
	inst, err := Inspect(binDir)
	if err != nil {
		return "", err
	}
	if made != 0 && made != inst.Major {
		return "", fmt.Errorf("the data in %s were made by PostgreSQL %d, but the programs in %s are version %d: "+
			"choose others with POSTERN_PG_BIN, or remove the folder to begin anew", data, made, inst.Dir, inst.Major)
	}
	return inst.Dir, nil
}

// initialise makes the data folder unless it is there. It is made under another name and renamed when
// complete, so that an interrupted initdb leaves nothing that looks like data.
func initialise(ctx context.Context, bin, dir string, password config.Secret, owner *account) error {
	data := filepath.Join(dir, "data")
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err == nil {
		return nil
	}
	fresh := data + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	args := []string{"-D", fresh, "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"}
	if password == "" {
		args = append(args, "-A", "trust")
	} else {
		pwfile := filepath.Join(dir, "password.new")
		if err := os.WriteFile(pwfile, []byte(password.Reveal()+"\n"), 0o600); err != nil {
			return err
		}
		defer os.Remove(pwfile) //nolint:errcheck // overwritten at the next try
		if err := owner.give(pwfile); err != nil {
			return err
		}
		args = append(args, "-A", "scram-sha-256", "--pwfile", pwfile)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), args...) //nolint:gosec // our own programs
	cmd.Dir = dir                                                          // initdb looks at its working directory, which must be open to its user
	isolate(cmd, owner)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return os.Rename(fresh, data)
}
