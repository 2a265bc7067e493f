// Package sqltest tests packages sqlstore and streamsql with real databases: SQLite, and servers of Postgres and
// MariaDB that the tests start themselves. It is a module of its own, so that the
// drivers are no dependencies of millrace.
package sqltest
