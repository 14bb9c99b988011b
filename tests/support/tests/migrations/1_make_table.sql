create table note (id int primary key, body text not null);
