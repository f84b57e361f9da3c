package mailtemplate

import (
	"context"
	"html/template"
	"strings"
	"sync"
	"time"
)

// slot is a mail of one kind in one language.
type slot struct {
	kind    Kind
	subject *template.Template
	builtin pair    // stands in when the operator's templates cannot be used
	below   *slot   // has the body when there is neither an origin nor a built-in one
	origin  *origin // of the body; nil: built-in

	loading chan struct{} // holds one element while somebody loads
	mu      sync.Mutex
	body    *template.Template // last good one; nil until it is loaded
	due     time.Time          // when it is loaded again; zero for inline
}

// newSlot makes a slot of an operator's mail; below has what the operator left out.
func (s *Set) newSlot(kind Kind, language string, source Source, below *slot) (*slot, []error) {
	made := &slot{kind: kind, subject: below.subject, builtin: below.builtin, below: below, loading: make(chan struct{}, 1)}
	var mistakes []error
	if source.Subject != "" {
		name := source.SubjectName
		if name == "" {
			name = variableName("GOTRUE_MAILER_SUBJECTS_", kind, language)
		}
		subject, err := compileSubject(kind, name, source.Subject)
		if err != nil {
			mistakes = append(mistakes, err)
		}
		made.subject = subject
	}
	if strings.TrimSpace(source.Template) == "" {
		return made, mistakes
	}
	name := source.TemplateName
	if name == "" {
		name = variableName("GOTRUE_MAILER_TEMPLATES_", kind, language)
	}
	var err error
	if made.origin, err = locate(source.Template, name, s.options.SiteURL); err != nil {
		return made, append(mistakes, err)
	}
	if made.origin.where != remote {
		if err := made.load(context.Background(), s); err != nil {
			mistakes = append(mistakes, err)
		}
	}
	return made, mistakes
}

func variableName(prefix string, kind Kind, language string) string {
	name := prefix + strings.ToUpper(string(kind))
	if language != "" {
		name += " (" + language + ")"
	}
	return name
}

// current returns the body to use now. It loads what is due; while somebody loads a
// newer one, others go on with the last.
func (m *slot) current(ctx context.Context, s *Set) (*template.Template, error) {
	if m.origin == nil {
		if m.below != nil {
			return m.below.current(ctx, s)
		}
		return m.builtin.body, nil
	}
	body, due := m.state()
	if m.origin.where == inline || s.now().Before(due) {
		return m.orBelow(ctx, s, body)
	}
	select {
	case m.loading <- struct{}{}:
	default:
		if body != nil {
			return body, nil
		}
		select {
		case m.loading <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	defer func() { <-m.loading }()
	if body, due = m.state(); !s.now().Before(due) {
		// One mail loads for all, so it does not stop when that mail is given up.
		if err := m.load(context.WithoutCancel(ctx), s); err != nil {
			s.options.Log.ErrorContext(ctx, "mail template not loaded, the last good one stays in use",
				"kind", string(m.kind), "error", err, "built_in", body == nil)
		}
		body, _ = m.state()
	}
	return m.orBelow(ctx, s, body)
}

// orBelow is the body, or while there is none what would stand here without it.
func (m *slot) orBelow(ctx context.Context, s *Set, body *template.Template) (*template.Template, error) {
	if body != nil || m.below == nil {
		return body, nil
	}
	return m.below.current(ctx, s)
}

func (m *slot) state() (*template.Template, time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.body, m.due
}

// load reads and checks the body. After a failure the last good one stays.
func (m *slot) load(ctx context.Context, s *Set) error {
	content, err := m.origin.read(ctx, s.options.HTTPClient, s.options.MaxSize)
	var body *template.Template
	if err == nil {
		body, err = compileBody(m.kind, m.origin.name, content)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.due = s.now().Add(s.options.RetryInterval)
		return err
	}
	m.body = body
	m.due = s.now().Add(s.options.MaxAge)
	return nil
}
