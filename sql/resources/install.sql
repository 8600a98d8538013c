-- Makes the tables users, articles, comments and posts in a schema: psql -1 -v ns=shop -f sql/resources/install.sql
\set ON_ERROR_STOP on
\ir version.sql
CREATE SCHEMA IF NOT EXISTS :"ns";
SET LOCAL search_path = :"ns", pg_temp;
\ir structure.sql
