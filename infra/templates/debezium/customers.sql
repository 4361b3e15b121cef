create table customers (
  id integer primary key,
  email text,
  balance numeric(12, 2),
  updated_at timestamptz default now()
);
-- A delete then tells the whole row, and large values come with every change.
alter table customers replica identity full;
insert into customers values (1, 'ada@example.com', 10), (2, 'bob@example.com', 20), (3, 'eve@example.com', 30);
