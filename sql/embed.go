// Package sql carries the migrations and the code package of the database, so that the binary can install them.
package sql

import "embed"

// FS holds the files as tern expects them: numbered migrations and install.sql at the root, and below postern/ the
// functions that they include. Files beginning with an underscore are included too.
//
//go:embed *.sql all:postern
var FS embed.FS
