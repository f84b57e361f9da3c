create or replace function postern.create_user(
    email text default null,
    phone text default null,
    password_hash text default null,
    user_metadata jsonb default '{}',
    app_metadata jsonb default null,
    role text default 'authenticated',
    audience text default 'authenticated',
    confirmed boolean default true,
    id uuid default gen_random_uuid())
returns uuid
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_id uuid := coalesce(create_user.id, gen_random_uuid());
    v_confirmed boolean := coalesce(create_user.confirmed, true);
    v_email text;
    v_phone text;
begin
    if coalesce(create_user.email, '') = '' and coalesce(create_user.phone, '') = '' then
        raise exception 'create_user needs an email or a phone';
    end if;
    if coalesce(create_user.email, '') <> '' then
        v_email := postern._email(create_user.email);
    end if;
    if coalesce(create_user.phone, '') <> '' then
        v_phone := postern._phone(create_user.phone);
    end if;
    if jsonb_typeof(create_user.user_metadata) <> 'object' or jsonb_typeof(create_user.app_metadata) <> 'object' then
        raise exception 'user_metadata and app_metadata are JSON objects';
    end if;
    if create_user.password_hash <> '' then
        perform postern._check_password_hash(create_user.password_hash);
    end if;

    -- Null, which a seed script may pass for what it does not know, is the default.
    perform postern._create_account(
        v_id, coalesce(create_user.audience, 'authenticated'), coalesce(create_user.role, 'authenticated'), v_email, v_phone,
        coalesce(create_user.password_hash, ''), create_user.user_metadata);
    perform postern._add_app_metadata(v_id, create_user.app_metadata);
    perform postern._confirm_account(v_id, v_confirmed and v_email is not null, v_confirmed and v_phone is not null);
    return v_id;
end
$$;

comment on function postern.create_user(text, text, text, jsonb, jsonb, text, text, boolean, uuid) is
'Makes a working account and returns its id; without a password hash it cannot sign in with a password until one is set. audience must be the one your clients use (GOTRUE_JWT_AUD).
Called by: seed scripts and psql.
Refuses: raises an error for a bad address or number, for what is no hash (as set_password_hash) or no JSON object, and unique violations for what is taken.';

create or replace function postern._check_password_hash(password_hash text)
returns void
language plpgsql immutable
as $$
begin
    -- A cost that gateway/password does not compute is no hash either.
    if password_hash !~ '^\$2[abxy]?\$(0[4-9]|1[0-8])\$[./A-Za-z0-9]{53}$'
        and password_hash !~ '^\$argon2id?\$v=19\$.+\$.+$' and password_hash !~ '^\$fbscrypt\$.+\$.+$'
        or password_hash is null
    then
        raise exception 'not a bcrypt (cost 4 to 18), argon2i, argon2id or fbscrypt hash'
            using hint = 'with pgcrypto: crypt(''the password'', gen_salt(''bf'', 10))';
    end if;
end
$$;

comment on function postern._check_password_hash(text) is
'Keeps passwords, and what no sign-in could compare, from being stored as a hash.
Called by: postern.create_user, postern.set_password_hash.
Refuses: raises an error for what is no hash of a known kind.';

create or replace function postern.set_password_hash(user_id uuid, password_hash text)
returns void
language plpgsql security definer
set search_path = auth, pg_temp
as $$
begin
    perform postern._check_password_hash(set_password_hash.password_hash);
    perform from auth.users u where u.id = set_password_hash.user_id for no key update;
    if not found then
        raise exception 'no user has the id %', user_id;
    end if;
    perform postern._set_password(set_password_hash.user_id, set_password_hash.password_hash, null);
end
$$;

comment on function postern.set_password_hash(uuid, text) is
'Stores a password hash (bcrypt, argon2i, argon2id or Firebase scrypt, contract core.md 10.4) and ends all sessions of the account.
Called by: seed scripts and psql.
Refuses: raises an error for another kind of hash or an unknown id.';

create or replace function postern.delete_user(user_id uuid, soft boolean default false)
returns void
language plpgsql security definer
set search_path = auth, pg_temp
as $$
begin
    perform from auth.users u where u.id = delete_user.user_id for update;
    if not found then
        raise exception 'no user has the id %', user_id;
    end if;
    perform postern._delete_account(delete_user.user_id, delete_user.soft);
end
$$;

comment on function postern.delete_user(uuid, boolean) is
'Deletes an account with all that references it; soft keeps the row without personal data.
Called by: seed scripts and psql.
Refuses: raises an error for an unknown id; foreign keys of users'' tables that restrict.';
