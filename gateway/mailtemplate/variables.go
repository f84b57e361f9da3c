package mailtemplate

import (
	"slices"
	"strings"
	"text/template/parse"
)

// mostMistakes is how many are reported at once.
const mostMistakes = 10

// variableCheck looks for variables that no mail has, and for those that this kind
// of mail does not have. The latter may stand in a condition and in the branch
// behind it, so that several kinds can share a template.
type variableCheck struct {
	has      []string // variables of this kind of mail
	known    map[string]any
	trees    map[string]*parse.Tree
	visited  map[string]bool
	guarded  []string // tested by a condition around this place
	mistakes []fault
}

// place says what "." and "$" are at a node.
type place struct {
	root      bool // "." is the data of the mail
	dollar    bool // "$" is
	condition bool // the value is only looked at
}

func checkVariables(kind Kind, trees map[string]*parse.Tree) []fault {
	c := &variableCheck{has: kind.variables(), known: Data{}.values(), trees: trees, visited: map[string]bool{}}
	c.tree(templateName)
	slices.SortStableFunc(c.mistakes, func(a, b fault) int { return a.at - b.at })
	return c.mistakes[:min(len(c.mistakes), mostMistakes)]
}

// tree checks a template that is given the data of the mail.
func (c *variableCheck) tree(name string) {
	if tree := c.trees[name]; tree != nil && !c.visited[name] {
		c.visited[name] = true
		c.list(tree.Root, place{root: true, dollar: true})
	}
}

func (c *variableCheck) list(list *parse.ListNode, at place) {
	if list == nil {
		return
	}
	for _, node := range list.Nodes {
		switch node := node.(type) {
		case *parse.ActionNode:
			c.pipe(node.Pipe, at)
		case *parse.IfNode:
			c.branch(&node.BranchNode, at, at)
		case *parse.WithNode:
			c.branch(&node.BranchNode, at, place{dollar: at.dollar})
		case *parse.RangeNode:
			c.branch(&node.BranchNode, at, place{dollar: at.dollar})
		case *parse.TemplateNode:
			if node.Pipe == nil {
				continue
			}
			c.pipe(node.Pipe, at)
			if passed := node.Pipe.String(); passed == "." && at.root || passed == "$" && at.dollar {
				c.tree(node.Name)
			}
		}
	}
}

// branch checks a condition and what depends on it.
func (c *variableCheck) branch(node *parse.BranchNode, outside, inside place) {
	looking := outside
	looking.condition = true
	c.pipe(node.Pipe, looking)
	before := len(c.guarded)
	c.guarded = append(c.guarded, names(node.Pipe)...)
	c.list(node.List, inside)
	c.list(node.ElseList, outside)
	c.guarded = c.guarded[:before]
}

func (c *variableCheck) pipe(pipe *parse.PipeNode, at place) {
	if pipe == nil {
		return
	}
	for _, command := range pipe.Cmds {
		within := at
		if function, ok := command.Args[0].(*parse.IdentifierNode); ok && slices.Contains(comparing(), function.Ident) {
			within.condition = true
		}
		for _, argument := range command.Args {
			c.value(argument, within)
		}
	}
}

// comparing are the functions that look at a value rather than show it.
func comparing() []string {
	return []string{"and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len"}
}

func (c *variableCheck) value(node parse.Node, at place) {
	switch node := node.(type) {
	case *parse.FieldNode:
		if at.root {
			c.variable(node, node.Ident, at)
		}
	case *parse.VariableNode:
		if node.Ident[0] == "$" && len(node.Ident) > 1 && at.dollar {
			c.variable(node, node.Ident[1:], at)
		}
	case *parse.ChainNode:
		c.value(node.Node, at)
	case *parse.PipeNode:
		c.pipe(node, at)
	}
}

func (c *variableCheck) variable(node parse.Node, path []string, at place) {
	name := path[0]
	complain := func(what string) {
		c.mistakes = append(c.mistakes, fault{at: int(node.Position()), what: what})
	}
	_, known := c.known[name]
	switch {
	case !known:
		complain("unknown variable ." + name + ", this mail has ." + strings.Join(c.has, " ."))
	case name != "Data" && len(path) > 1:
		complain("." + name + " is a text and has no ." + path[1])
	case !slices.Contains(c.has, name) && !at.condition && !slices.Contains(c.guarded, name):
		complain("." + name + " is always empty in this mail, which has ." + strings.Join(c.has, " .") +
			" (in a template for several mails put it inside of {{ if ." + name + " }})")
	}
}

// names returns the variables that a condition mentions.
func names(node parse.Node) []string {
	var found []string
	switch node := node.(type) {
	case *parse.PipeNode:
		for _, command := range node.Cmds {
			for _, argument := range command.Args {
				found = append(found, names(argument)...)
			}
		}
	case *parse.FieldNode:
		found = append(found, node.Ident[0])
	case *parse.VariableNode:
		if node.Ident[0] == "$" && len(node.Ident) > 1 {
			found = append(found, node.Ident[1])
		}
	}
	return found
}
