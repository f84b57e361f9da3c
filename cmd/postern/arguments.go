package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// withoutArguments makes commands refuse words that they do not know: what is not a flag was a mistake. Commands that say in
// ArgsUsage what they take look at it themselves (oneArgument).
func withoutArguments(commands []*cli.Command) []*cli.Command {
	for _, command := range commands {
		if len(command.Subcommands) > 0 {
			withoutArguments(command.Subcommands)
			continue
		}
		if command.ArgsUsage != "" {
			continue
		}
		action := command.Action
		command.Action = func(c *cli.Context) error {
			if c.Args().Present() {
				return fmt.Errorf("%s: unknown argument %q", c.Command.FullName(), c.Args().First())
			}
			return action(c)
		}
	}
	return commands
}

// oneArgument returns the one word that a command takes; "" when it was not given. Flags may stand behind it too, where the
// library does not look for them.
func oneArgument(c *cli.Context) (string, error) {
	word, isSet := "", false
	for words := c.Args().Slice(); len(words) > 0; words = words[1:] {
		switch name, value, hasValue := strings.Cut(strings.TrimLeft(words[0], "-"), "="); {
		case strings.HasPrefix(words[0], "--") && len(words[0]) > 2:
			_, isSwitch := c.Value(name).(bool)
			if !hasValue && isSwitch {
				value = "true"
			} else if !hasValue && len(words) > 1 {
				value, words = words[1], words[1:]
			} else if !hasValue {
				return "", fmt.Errorf("%s: --%s needs a value", c.Command.FullName(), name)
			}
			if err := c.Set(name, value); err != nil {
				return "", fmt.Errorf("%s: --%s: %w", c.Command.FullName(), name, err)
			}
		case isSet:
			return "", fmt.Errorf("%s: unknown argument %q", c.Command.FullName(), words[0])
		default:
			word, isSet = words[0], true
		}
	}
	return word, nil
}
