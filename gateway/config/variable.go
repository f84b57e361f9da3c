package config

import "strings"

// Type says how the text of a variable is read.
type Type string

// The types of core.md 13.1. Bool, Int, Number, Duration and Rate refuse an empty text; the others take it as "nothing".
const (
	Bool     Type = "bool"     // 1, t, true, 0, f, false in the usual cases
	Int      Type = "int"      // whole number
	Number   Type = "number"   // number with an optional fraction
	Duration Type = "duration" // Go syntax: 90s, 1h30m
	Rate     Type = "rate"     // a number, or number/duration
	Text     Type = "text"
	URL      Type = "URL"
	List     Type = "list" // split at commas, not trimmed
	Map      Type = "map"  // key:value,key:value
	Time     Type = "time" // RFC 3339
	JSON     Type = "JSON"
)

// Where says what a variable acts on.
type Where string

// The places a variable can act on.
const (
	Process  Where = "process"       // a field of Config
	Settings Where = "auth.settings" // the column named by Variable.Column
	Command  Where = "command"       // read by a command or by tern.conf, not by Load
	NotBuilt Where = "not built yet" // known name, accepted with a notice
	NoEffect Where = "no effect"     // accepted in silence
)

// Variable describes one environment variable. The table that Variables returns is the only place where names, defaults and
// meanings stand: Load, the reference page and --help are made from it.
type Variable struct {
	Name     string   // as documented and as mistakes name it
	Aliases  []string // other spellings; one that begins with GOTRUE_ wins over one that does not
	Type     Type
	Default  string // as it would be written in the environment; "" is none
	Meaning  string
	Area     string // heading of the reference page
	Section  string // section of the wire contract that defines it
	Where    Where
	Column   string // of auth.settings, when Where is Settings
	Required bool
	Secret   bool   // the value is never printed
	Family   string // pattern of the names that differ in one part only, such as GOTRUE_HOOK_<HOOK>_URI; "" is none

	parse  func(string) (any, error)
	apply  func(*Config, any)
	notice string // for a variable that acts, but not on everything its name promises yet
}

// Variables returns every variable that Postern knows, by area, in the order of the reference page.
func Variables() []Variable {
	var all []Variable
	for _, area := range [][]Variable{
		serverVariables(), databaseVariables(), siteVariables(), tokenVariables(), sessionVariables(), passwordVariables(),
		limitVariables(), securityVariables(), auditVariables(), hookVariables(),
		mailPolicyVariables(), mailDeliveryVariables(), mailContentVariables(), smtpVariables(), smtpFallbackVariables(),
		smsVariables(), smsProviderVariables(), factorVariables(), passkeyVariables(), externalVariables(), providerVariables(), samlVariables(),
		oauthServerVariables(), experimentalVariables(), observabilityVariables(), reloadVariables(), commandVariables(),
	} {
		all = append(all, area...)
	}
	return all
}

// area puts the rows under one heading of the page and one section of the contract.
func area(heading, section string, rows ...Variable) []Variable {
	for i := range rows {
		rows[i].Area = heading
		if rows[i].Section == "" {
			rows[i].Section = section
		}
	}
	return rows
}

// setting is a variable that sets the column of its name in auth.settings.
func setting(name string, t Type, fallback, meaning string) Variable {
	column := columnOf(name)
	return Variable{
		Name: name, Type: t, Default: fallback, Meaning: meaning, Where: Settings, Column: column,
		parse: parserOf(t), apply: func(c *Config, value any) { c.Policy[column] = policyValue(value) },
	}
}

// columnOf is the rule that names the columns of auth.settings.
func columnOf(name string) string {
	return strings.ToLower(strings.TrimPrefix(strings.TrimPrefix(name, "GOTRUE_"), "POSTERN_"))
}

// process is a variable that sets the field of Config that the function points to. The value its parser returns must be of
// the field's type.
func process[T any](name string, t Type, fallback, meaning string, field func(*Config) *T) Variable {
	return Variable{
		Name: name, Type: t, Default: fallback, Meaning: meaning, Where: Process,
		parse: parserOf(t), apply: func(c *Config, value any) { *field(c) = value.(T) },
	}
}

// entry is a variable that sets one entry of the map of Config that the function points to, unless it is empty.
func entry[T comparable](name string, t Type, fallback, meaning, key string, field func(*Config) *map[string]T) Variable {
	return Variable{
		Name: name, Type: t, Default: fallback, Meaning: meaning, Where: Process,
		parse: parserOf(t), apply: func(c *Config, value any) {
			var none T
			if value == any(none) {
				return
			}
			entries := field(c)
			if *entries == nil {
				*entries = map[string]T{}
			}
			(*entries)[key] = value.(T)
		},
	}
}

// checked is a variable that is only judged: it may have one value, or matters to another one.
func checked(name string, t Type, fallback, meaning string, parse func(string) (any, error)) Variable {
	return Variable{Name: name, Type: t, Default: fallback, Meaning: meaning, Where: Process, parse: parse}
}

// later is a variable of a feature that is not built yet. Its text is checked, so that an environment that starts today
// still starts when the feature arrives.
func later(name string, t Type, fallback, meaning string) Variable {
	return Variable{
		Name: name, Type: t, Default: fallback, Meaning: meaning, Where: NotBuilt, parse: parserOf(t),
		notice: "accepted, but not built yet: it has no effect",
	}
}

// idle is a variable that nothing depends on; its text is not looked at.
func idle(name, meaning string) Variable {
	return Variable{Name: name, Type: Text, Meaning: meaning, Where: NoEffect, parse: parseText}
}

// command is a variable that something other than Load reads.
func command(name, fallback, meaning string) Variable {
	return Variable{Name: name, Type: Text, Default: fallback, Meaning: meaning, Where: Command, parse: parseText}
}

func (v Variable) alias(names ...string) Variable                { v.Aliases = names; return v }
func (v Variable) required() Variable                            { v.Required = true; return v }
func (v Variable) secret() Variable                              { v.Secret = true; return v }
func (v Variable) from(section string) Variable                  { v.Section = section; return v }
func (v Variable) family(pattern string) Variable                { v.Family = pattern; return v }
func (v Variable) with(parse func(string) (any, error)) Variable { v.parse = parse; return v }
func (v Variable) noticed(text string) Variable                  { v.notice = text; return v }

// spellings returns the names under which the variable may stand in the environment, the one that wins first.
func (v Variable) spellings() []string {
	var prefixed, bare []string
	for _, name := range append([]string{v.Name}, v.Aliases...) {
		if ours(name) {
			prefixed = append(prefixed, name)
		} else {
			bare = append(bare, name)
		}
	}
	return append(prefixed, bare...)
}

// ours says whether a name is in one of the two name spaces that belong to this program.
func ours(name string) bool {
	return strings.HasPrefix(name, "GOTRUE_") || strings.HasPrefix(name, "POSTERN_")
}
