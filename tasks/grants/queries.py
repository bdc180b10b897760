"""What is asked of each kind of server: one query per table, however many accounts there are.

Never SHOW GRANTS, which is one query per account and turns a full list into ALL; never information_schema
for rights, which silently leaves out what the reader may not see. Reading mysql.* either works or fails.
"""

from __future__ import annotations

HEAD = "SELECT VERSION(), @@version_comment, CURRENT_USER()"
VARIABLES = (
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('partial_revokes', 'skip_name_resolve', 'read_only', "
    "'super_read_only', 'lower_case_table_names', 'sql_mode', 'activate_all_roles_on_login', 'wsrep_on')"
)
STATUS = (
    "SHOW GLOBAL STATUS WHERE Variable_name IN "
    "('wsrep_cluster_status', 'wsrep_local_state_comment', 'wsrep_ready', 'Slave_running')"
)
DATABASES = "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA"
# Which privileges there are differs between versions: the columns of mysql.db and mysql.user say. Not LIKE,
# whose `\_` is no escape on a MySQL with NO_BACKSLASH_ESCAPES.
COLUMNS = (
    "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'mysql' "
    "AND TABLE_NAME IN ('db', 'user') AND RIGHT(COLUMN_NAME, 5) = '_priv' "
    "ORDER BY TABLE_NAME, ORDINAL_POSITION"
)
# The flags as one value: a row of twenty values takes a client written in Python ten times as long.
RIGHTS = "SELECT User, Host, Db, CONCAT({flags}) FROM mysql.db"
OBJECTS = (
    "SELECT User, Host, CONCAT('table ', Db, '.', Table_name) FROM mysql.tables_priv "
    "UNION ALL SELECT User, Host, CONCAT(LOWER(Routine_type), ' ', Db, '.', Routine_name) "
    "FROM mysql.procs_priv"
)

# mysql.user is a view there, and takes MariaDB a JSON function per row and column.
MARIADB_ACCOUNTS = "SELECT User, Host, Priv FROM mysql.global_priv"
MYSQL_ACCOUNTS = (
    "SELECT User, Host, plugin, authentication_string, account_locked, "
    "JSON_UNQUOTE(JSON_EXTRACT(User_attributes, '$.additional_password')), CONCAT({flags}) FROM mysql.user"
)
# On MariaDB whoever creates a role holds it WITH ADMIN: that makes an administrator, not an account of ours.
MARIADB_ROLES = "SELECT User, Host, Role, Admin_option, 'N' FROM mysql.roles_mapping WHERE Host <> ''"
MYSQL_ROLES = (
    "SELECT TO_USER, TO_HOST, FROM_USER, WITH_ADMIN_OPTION, 'N' FROM mysql.role_edges "
    "UNION ALL SELECT USER, HOST, DEFAULT_ROLE_USER, 'N', 'Y' FROM mysql.default_roles"
)
MYSQL_DYNAMIC = "SELECT USER, HOST, PRIV FROM mysql.global_grants"
# A row for each server that it is set up to follow, also while it does not. Needs REPLICA MONITOR.
MARIADB_FOLLOWS = "SHOW ALL SLAVES STATUS"
MYSQL_FOLLOWS = "SELECT COUNT(*) FROM mysql.slave_master_info WHERE Host <> ''"

# One query for all databases; on MariaDB one over all tables of the server would open every one of them,
# and only equality with a constant keeps it in one directory.
_DEFINITIONS = (
    "SELECT DEFINER, CONCAT('view ', TABLE_SCHEMA, '.', TABLE_NAME) "
    "FROM information_schema.VIEWS WHERE TABLE_SCHEMA = %s",
    "SELECT DEFINER, CONCAT('trigger ', TRIGGER_SCHEMA, '.', TRIGGER_NAME) "
    "FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s",
    "SELECT DEFINER, CONCAT(LOWER(ROUTINE_TYPE), ' ', ROUTINE_SCHEMA, '.', ROUTINE_NAME) "
    "FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s",
    "SELECT DEFINER, CONCAT('event ', EVENT_SCHEMA, '.', EVENT_NAME) "
    "FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s",
)


def definitions_query(databases: int) -> str:
    """Return the query for what is defined in so many databases; each is a parameter, four times in a row."""
    return " UNION ALL ".join(" UNION ALL ".join(_DEFINITIONS) for _ in range(databases))


def with_flags(query: str, columns: list[str]) -> str:
    """Put the columns of flags into `query`; they come from the server's own dictionary."""
    return query.replace("{flags}", ", ".join(columns) or "''")
