package gateway

// adminAuditLog is GET /admin/audit (contract admin.md 11).
func (s *Server) adminAuditLog(q *request) (*response, error) {
	query := q.r.URL.Query()
	a, err := s.callAdmin(q, "admin_list_audit_log", `, page => $6, per_page => $7, query => $8`,
		text(storable(query.Get("page"))), text(storable(query.Get("per_page"))), text(storable(query.Get("query"))))
	return paged(q, a, err)
}
