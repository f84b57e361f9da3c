package main

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// withoutArguments makes commands refuse words that they do not know: what is not a flag was a mistake.
func withoutArguments(commands []*cli.Command) []*cli.Command {
	for _, command := range commands {
		if len(command.Subcommands) > 0 {
			withoutArguments(command.Subcommands)
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
