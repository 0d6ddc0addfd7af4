//! PostgreSQL, MySQL/MariaDB and SQLite session store.
