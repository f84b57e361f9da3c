create or replace function postern._utc(moment timestamptz)
returns text
language sql stable
as $$
    select to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

comment on function postern._utc(timestamptz) is
'RFC 3339 text of a moment, in UTC whatever the session''s time zone, to the microsecond.
Called by: everything that writes a time into JSON.
Refuses: never.';

create or replace function postern._is_email(address text)
returns boolean
language sql immutable
as $$
    select octet_length(address) <= 255 and address ~ ('^[a-zA-Z0-9.!#$%&''*+/=?^_`{|}~-]+'
        || '@[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$')
$$;

comment on function postern._is_email(text) is
'Whether a text has the form of a mail address, of at most 255 bytes (contract core.md 3.5).
Called by: postern._email, postern.verify_one_time_token.
Refuses: never.';

create or replace function postern._email(address text)
returns text
language plpgsql immutable
as $$
begin
    if coalesce(address, '') = '' then
        perform postern._refuse(400, 'validation_failed', 'An email address is required');
    elsif octet_length(address) > 255 then
        perform postern._refuse(400, 'validation_failed', 'An email address is too long');
    elsif not postern._is_email(address) then
        perform postern._refuse(400, 'validation_failed', 'Unable to validate email address: invalid format');
    end if;
    return lower(address);
end
$$;

comment on function postern._email(text) is
'The lower-cased address when it is one (contract core.md 3.5).
Called by: every function that stores an address.
Refuses: validation_failed (400) - missing, longer than 255 bytes, or not an address.';

create or replace function postern._check_disposable(address text)
returns void
language plpgsql stable
as $$
declare
    v_domain text := split_part(address, '@', 2);
begin
    -- The domain, and each one above it.
    while v_domain <> '' loop
        if exists (select from auth.disposable_domains d where d.domain = v_domain) then
            perform postern._refuse(400, 'email_address_invalid', format('Email address "%s" is invalid', address));
        end if;
        v_domain := substr(v_domain, strpos(v_domain || '.', '.') + 1);
    end loop;
end
$$;

comment on function postern._check_disposable(text) is
'Whether somebody may take an address as their own: not where its domain, or one above it, stands in auth.disposable_domains. Administrators may give out any.
Called by: sign-up, registration by a code, changes of address.
Refuses: email_address_invalid (400).';

create or replace function postern._phone(number text)
returns text
language plpgsql immutable
as $$
declare
    v_number text := postern._phone_digits(number);
begin
    if coalesce(v_number, '') !~ '^[1-9][0-9]{1,14}$' then
        perform postern._refuse(400, 'validation_failed', 'Invalid phone number format (E.164 required)');
    end if;
    return v_number;
end
$$;

comment on function postern._phone(text) is
'The number without plus sign and blanks when it is one by E.164 (contract core.md 3.1).
Called by: every function that stores a number.
Refuses: validation_failed (400) - not an E.164 number.';

create or replace function postern._phone_digits(number text)
returns text
language sql immutable
as $$
    select replace(regexp_replace(number, '^\+', ''), ' ', '')
$$;

comment on function postern._phone_digits(text) is
'A phone number as stored: no leading plus sign, no blanks; not checked. A plus sign behind a blank stays, as in the reference, so that it is no number.
Called by: functions that look a number up.
Refuses: never.';
