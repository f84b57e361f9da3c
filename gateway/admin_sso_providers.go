package gateway

// adminListSSOProviders is GET /admin/sso/providers (contract external.md 9.7).
func (s *Server) adminListSSOProviders(q *request) (*response, error) {
	query := q.r.URL.Query()
	return passOn(s.callAdmin(q, "admin_list_sso_providers", `, resource_id => $6, resource_id_prefix => $7`,
		text(storable(query.Get("resource_id"))), text(storable(query.Get("resource_id_prefix")))))
}
