package mailtemplate

import (
	"sort"
	"strings"
	"text/template/parse"
)

const (
	// mostVariants bounds in how many ways the conditions of a template are tried.
	mostVariants = 64
	// allCombined is up to how many conditions every combination is tried.
	allCombined = 4
	// deepest bounds templates that call each other.
	deepest = 20
	// placeholder stands where a value will be: it can begin neither tag nor quote.
	placeholder = "\ufffc"
)

// checkHTML checks the HTML that a template can produce. A condition that occurs
// twice has the same outcome both times, so that a tag may be opened in one {{ if }}
// and closed in another; beyond a few conditions not every combination is tried.
func checkHTML(trees map[string]*parse.Tree) *fault {
	conditions := map[string]bool{}
	for _, tree := range trees {
		collect(tree.Root, conditions)
	}
	for _, outcome := range outcomes(conditions) {
		d := &document{trees: trees, outcome: outcome}
		d.tree(templateName, 0)
		if f := balance(d.text.String()); f != nil {
			return &fault{at: d.source(f.at), what: f.what}
		}
	}
	return nil
}

// collect gathers the conditions below a node.
func collect(list *parse.ListNode, into map[string]bool) {
	if list == nil {
		return
	}
	for _, node := range list.Nodes {
		if branch := branchOf(node); branch != nil {
			into[branch.Pipe.String()] = true
			collect(branch.List, into)
			collect(branch.ElseList, into)
		}
	}
}

func branchOf(node parse.Node) *parse.BranchNode {
	switch node := node.(type) {
	case *parse.IfNode:
		return &node.BranchNode
	case *parse.WithNode:
		return &node.BranchNode
	case *parse.RangeNode:
		return &node.BranchNode
	}
	return nil
}

// outcomes lists combinations of what the conditions may come to: all of them when
// there are few; else all true, all false, and each one against the rest.
func outcomes(conditions map[string]bool) []map[string]bool {
	names := make([]string, 0, len(conditions))
	for name := range conditions {
		names = append(names, name)
	}
	sort.Strings(names)
	var all []map[string]bool
	add := func(holds func(i int) bool) {
		one := map[string]bool{}
		for i, name := range names {
			one[name] = holds(i)
		}
		all = append(all, one)
	}
	if len(names) <= allCombined {
		for bits := range 1 << len(names) {
			add(func(i int) bool { return bits>>i&1 == 0 })
		}
		return all
	}
	add(func(int) bool { return true })
	add(func(int) bool { return false })
	for odd := 0; odd < len(names) && len(all) < mostVariants; odd++ {
		add(func(i int) bool { return i != odd })
		add(func(i int) bool { return i == odd })
	}
	return all
}

// document is the HTML of one combination, and where its pieces stand in the source.
type document struct {
	trees   map[string]*parse.Tree
	outcome map[string]bool
	text    strings.Builder
	pieces  []piece
}

// piece says that from a place of the document on the text is that of a place of
// the source.
type piece struct{ document, source int }

func (d *document) tree(name string, depth int) {
	if tree := d.trees[name]; tree != nil && depth < deepest {
		d.list(tree.Root, depth)
	}
}

func (d *document) list(list *parse.ListNode, depth int) {
	if list == nil {
		return
	}
	for _, node := range list.Nodes {
		if branch := branchOf(node); branch != nil {
			if d.outcome[branch.Pipe.String()] {
				d.list(branch.List, depth)
			} else {
				d.list(branch.ElseList, depth)
			}
			continue
		}
		d.pieces = append(d.pieces, piece{d.text.Len(), int(node.Position())})
		switch node := node.(type) {
		case *parse.TextNode:
			d.text.Write(node.Text)
		case *parse.ActionNode:
			if len(node.Pipe.Decl) == 0 {
				d.text.WriteString(placeholder)
			}
		case *parse.TemplateNode:
			d.tree(node.Name, depth+1)
		}
	}
}

// source finds the place in the source of a place in the document.
func (d *document) source(at int) int {
	after := sort.Search(len(d.pieces), func(i int) bool { return d.pieces[i].document > at })
	if after == 0 {
		return 0
	}
	found := d.pieces[after-1]
	return found.source + at - found.document
}
