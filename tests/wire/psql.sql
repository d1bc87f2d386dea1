-- What a person types into psql; its answers are in psql.expected.
\set VERBOSITY verbose
\set SHOW_CONTEXT never
create table person(id serial primary key, name varchar(20) not null unique, adult bool default true, born date,
  score int default 7 check (score > 0));
create table if not exists person(id int);
create index person_born on person(born);
create index if not exists person_born on person(born);
create view adults as select name, score from person where adult;
\l
\dt
\d
\d person
\d adults
\di
\dv
\dn
\du
\df
\echo == writes
insert into person(name) values ('ann'), ('bob') returning id, name, adult, score;
insert into person(name) values ('ann') on conflict (name) do update set score = person.score + 1 returning *;
insert into person(name) values ('ann') on conflict do nothing;
update person set adult = false where name = 'bob' returning adult;
select adult, adult and true, not adult, score > 7, born is null, score = 7 or adult from person order by id;
\echo == errors
insert into person(name) values ('ann');
insert into person(name) values (null);
insert into person(name, score) values ('eve', 0);
insert into person(name) values ('a name of more than twenty letters');
insert into person(name, score) values ('eve', 'many');
select * from nobody;
select nothing from person;
select nosuch(1);
selec 1;
explain select 1;
drop table if exists nobody;
drop view if exists nobody;
drop index if exists nobody;
drop database if exists nobody;
\echo == transactions
begin;
insert into person(name) values ('carl');
savepoint s;
insert into person(name) values ('carl');
select 1;
rollback to savepoint s;
insert into person(name) values ('dora');
select now() = now() as one_moment;
commit;
select count(*) from person;
begin;
select 1/0;
commit;
begin read only;
delete from person;
select name from person for update;
rollback;
lock table person;
begin;
lock table person in exclusive mode;
select name from person where id = 1 for update;
begin;
rollback;
rollback;
\echo == cursors and prepared statements
begin;
declare c cursor for select name from person order by name;
fetch 2 from c;
fetch all from c;
close c;
fetch c;
rollback;
prepare p(int, text) as select $1 + 1 as sum, $2 || '!' as text;
execute p(4, 'hey');
execute p(4);
deallocate p;
\echo == session and cluster
select current_user, current_database(), outlast_node_id(), count(*) from person;
set statement_timeout = '1500ms';
show statement_timeout;
reset statement_timeout;
set nonsense = 1;
show cluster setting sql.defaults.lock_timeout;
set cluster setting nonsense = 1;
begin; set cluster setting sql.defaults.lock_timeout = '5s';
rollback;
create database other;
create database other;
\c other
\dt
create table only_here(a int);
\c defaultdb
select count(*) from only_here;
drop database other;
\c - - - -
copy (with few as (select name from person where id < 3) select * from few order by 1) to stdout;
copy person(name, adult, born) to stdout csv header;
