package devmail

import (
	"bytes"
	"embed"
	"encoding/json"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// longestWait bounds how long /dev/mail.json waits for a message.
const longestWait = 10 * time.Second

//go:embed web
var web embed.FS

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"clock": func(t time.Time) string { return t.Format("15:04:05") },
	"words": func(kind string) string { return strings.ReplaceAll(kind, "_", " ") },
}).ParseFS(web, "web/*.html"))

// Handler answers /dev/mail and what is below it, and leaves everything else to next. hosts are names that the gateway is
// reached by, besides localhost and bare IP addresses.
func (c *Catcher) Handler(next http.Handler, hosts ...string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /dev/mail", c.list)
	mux.HandleFunc("GET /dev/mail/{$}", c.list)
	mux.HandleFunc("GET /dev/mail.json", c.listJSON)
	mux.HandleFunc("GET /dev/mail/{id}", c.show)
	mux.HandleFunc("GET /dev/mail/{id}/html", c.body)
	for _, name := range []string{"mail.css", "mail.js"} {
		mux.HandleFunc("GET /dev/mail/"+name, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, web, "web/"+name)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path := r.URL.Path; path != "/dev/mail" && path != "/dev/mail.json" && !strings.HasPrefix(path, "/dev/mail/") {
			next.ServeHTTP(w, r)
			return
		}
		header := w.Header()
		header.Set("Cache-Control", "no-store")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "+
			"frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		// A page of somebody else's whose name leads here would read the mails (DNS rebinding).
		if !local(r.Host, hosts) {
			http.Error(w, "mails are shown at localhost and at the host of API_EXTERNAL_URL", http.StatusMisdirectedRequest)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func local(hostport string, hosts []string) bool {
	host := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || host == "localhost" || strings.HasSuffix(host, ".localhost") || slices.Contains(hosts, host)
}

func (c *Catcher) list(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.Header.Get("Accept"), "application/json") {
		c.listJSON(w, r)
		return
	}
	messages, _ := c.messages("", 0)
	write(w, "list.html", messages)
}

// listJSON answers with the messages, newest first: ?to=address, ?after=id, and ?wait=5s until there is one.
func (c *Catcher) listJSON(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	after, wait := 0, time.Duration(0)
	var err error
	if text := query.Get("after"); text != "" {
		after, err = strconv.Atoi(text)
	}
	if text := query.Get("wait"); text != "" && err == nil {
		wait, err = time.ParseDuration(text)
	}
	if err != nil {
		http.Error(w, "after is an id, and wait a duration such as 5s", http.StatusBadRequest)
		return
	}
	end := time.NewTimer(min(wait, longestWait))
	defer end.Stop()
	messages, arrival := c.messages(query.Get("to"), after)
	for waiting := wait > 0; waiting && len(messages) == 0; {
		select {
		case <-arrival:
		case <-end.C:
			waiting = false
		case <-c.stopping:
			waiting = false
		case <-r.Context().Done():
			return
		}
		messages, arrival = c.messages(query.Get("to"), after)
	}
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false) // links, for eyes and scripts; the type and nosniff keep it from being HTML
	_ = encoder.Encode(messages)
}

// asked is the message that a path names, nil after an answer of 404.
func (c *Catcher) asked(w http.ResponseWriter, r *http.Request) *Message {
	id, err := strconv.Atoi(r.PathValue("id"))
	m := c.message(id)
	if err != nil || m == nil {
		http.Error(w, "no such message: the newest are kept, until postern dev stops", http.StatusNotFound)
		return nil
	}
	return m
}

func (c *Catcher) show(w http.ResponseWriter, r *http.Request) {
	if m := c.asked(w, r); m != nil {
		write(w, "message.html", m)
	}
}

// body is the HTML of a mail for the frame of its page. It is anybody's: it may show pictures and open links in a new tab,
// and run, send or read nothing.
func (c *Catcher) body(w http.ResponseWriter, r *http.Request) {
	m := c.asked(w, r)
	if m == nil {
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; "+
		"img-src http: https: data:; style-src 'unsafe-inline' http: https:; font-src http: https: data:; frame-ancestors 'self'")
	_, _ = w.Write([]byte(`<!doctype html><base target="_blank">` + m.HTML))
}

func write(w http.ResponseWriter, name string, data any) {
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, name, data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(page.Bytes())
}
