package http_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestAdminListsUsersByCursor(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_EXPERIMENTAL_CURSOR_PAGINATION_ENABLED=true")
	admin := s.serviceRole()
	// Some of one moment: the id settles their order.
	s.exec(`select postern.create_user(email => 'user' || n || '@example.com') from generate_series(1, 10) n;
		update auth.users set created_at = timestamptz '2020-01-01 00:00:00.123456' + (substring(email from '[0-9]+')::int / 3) * interval '1 day'`)
	order := func(direction string) []string {
		return s.column(`select id::text from auth.users order by created_at ` + direction + `, id ` + direction)
	}
	ids := func(a *answer) (out []string) {
		for _, user := range a.at("users").([]any) {
			out = append(out, member(user, "id").(string))
		}
		return out
	}
	for sort, want := range map[string][]string{"": order("desc"), "created_at asc": order("asc"), "created_at": order("desc")} {
		var seen []string
		cursor, pages := "", 0
		for {
			query := url.Values{"limit": {"3"}}
			if sort != "" {
				query.Set("sort", sort)
			}
			if cursor != "" {
				query.Set("cursor", cursor)
			}
			a := s.get("/admin/users?"+query.Encode(), admin).want(http.StatusOK)
			a.headers(map[string]string{"X-Total-Count": ""})
			seen = append(seen, ids(a)...)
			pages++
			cursor = a.text("pagination.next_cursor")
			if more := a.at("pagination.has_more"); more != (cursor != "") {
				t.Fatalf("has_more %v with cursor %q", more, cursor)
			}
			if cursor == "" {
				a.headers(map[string]string{"Link": ""})
				break
			}
			query.Set("cursor", cursor)
			a.headers(map[string]string{"Link": "</admin/users?" + query.Encode() + `>; rel="next"`})
			if pages > 10 {
				t.Fatal("no end")
			}
		}
		if !slices.Equal(seen, want) || pages != 4 {
			t.Errorf("sort %q: %d pages, %v, want %v", sort, pages, seen, want)
		}
	}
	// Either parameter of the older kind brings the older kind back; an empty one does not.
	s.get("/admin/users?page=1", admin).want(200).headers(map[string]string{"X-Total-Count": "10"})
	s.get("/admin/users?per_page=3&limit=1", admin).want(200).headers(map[string]string{"X-Total-Count": "10"})
	s.get("/admin/users?page=&per_page=", admin).want(200).holds(`{"pagination": {"has_more": false, "next_cursor": "<none>"}}`, false)
	s.get("/admin/users?filter=user1", admin).want(200).holds(`{"users": ["<any>", "<any>"]}`, false)
	s.get("/admin/users?limit=999999999999", admin).want(200).holds(`{"pagination": {"has_more": false}}`, false)
	if n, texts := s.statements(func() { s.get("/admin/users", admin).want(200) }); n != 1 {
		t.Errorf("%d statements: %v", n, texts)
	}

	encoded := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	const someID = "6fa459ea-ee8a-4ca4-894e-db77e160355e"
	for query, message := range map[string]string{
		"limit=0":                          "limit must be greater than 0",
		"limit=x":                          "*",
		"limit=-1":                         "*",
		"cursor=%21%21":                    "invalid cursor encoding: *",
		"cursor=" + encoded("nonsense"):    "invalid cursor: *",
		"cursor=" + encoded("[]"):          "invalid cursor: *",
		"cursor=" + encoded("\xff\x00"):    "invalid cursor: *",
		"cursor=" + encoded(`{"id": 7}`):   "invalid cursor: *",
		"cursor=" + encoded(`{"id": "x"}`): "invalid cursor: *",
		"cursor=" + encoded(`{"created_at": "2020-01-01T00:00:00Z"}`):                                         "invalid cursor: missing id",
		"cursor=" + encoded(fmt.Sprintf(`{"id": "%s"}`, someID)):                                              "invalid cursor: missing created_at",
		"cursor=" + encoded(fmt.Sprintf(`{"id": "%s", "created_at": "%s"}`, someID, strings.Repeat("9", 99))): "invalid cursor: *",
	} {
		a := s.get("/admin/users?"+query, admin).refused(http.StatusBadRequest, "validation_failed")
		begin, open := strings.CutSuffix("Bad Pagination Parameters: "+message, "*")
		if got := a.text("msg"); got != begin && (!open || !strings.HasPrefix(got, begin)) {
			t.Errorf("%s: msg %q, want %q", query, got, message)
		}
	}
	s.get("/admin/users?sort=email", admin).refused(http.StatusBadRequest, "validation_failed")
}
