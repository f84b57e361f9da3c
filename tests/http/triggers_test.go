package http_test

import "fmt"

// raiseOnInsert is a trigger on auth.users that raises an error.
func raiseOnInsert(message, state string) string {
	return fmt.Sprintf(`
		create or replace function public.refuse_user() returns trigger language plpgsql as $$
		begin
			raise exception '%s' using errcode = '%s', detail = 'the detail', hint = 'the hint';
		end $$;
		create or replace trigger refuse_user before insert on auth.users for each row execute function public.refuse_user()`, message, state)
}
