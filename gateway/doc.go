// Package gateway is Postern's HTTP server. It speaks Supabase Auth's wire protocol and does only what SQL cannot: HTTP,
// password hashing and signing tokens. Every decision about an account is made by a function of schema postern; routes.go
// says which. Read routes.go first, then call.go (the only place that runs SQL) and errors.go (the only place that
// writes an error).
package gateway
