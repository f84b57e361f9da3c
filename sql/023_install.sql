-- Installed the functions. The last migration does so now.

select 1;

---- create above / drop below ----

select 1;
