package gateway

// adminAuditLog is GET /admin/audit (contract admin.md 11).
func (s *Server) adminAuditLog(q *request) (*response, error) {
	query := q.r.URL.Query()
	a, err := s.callAdmin(q, "admin_list_audit_log", `, page => $5, per_page => $6, query => $7`,
		text(storable(query.Get("page"))), text(storable(query.Get("per_page"))), text(storable(query.Get("query"))))
	return paged(q, a, err)
}
