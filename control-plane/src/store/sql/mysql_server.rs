//! The part of a statement that asks MySQL and MariaDB about their server.

/// Whether the server takes no writes, and its name. MariaDB has no unique name for a server, so several properties
/// together take its place. MySQL and MariaDB each read their own part of the text, by the marks of the comments. Newer
/// versions of MariaDB return OFF for 0.
macro_rules! mysql_server {
    () => {
        "CASE WHEN CAST(@@global.read_only AS CHAR) IN ('0', 'OFF') THEN 0 ELSE 1 END AS follows, \
         /*M! CONCAT(@@hostname, ':', @@port, ':', @@server_id, ':', @@datadir) */ /*!80000 @@server_uuid */ AS server"
    };
}
pub(in crate::store::sql) use mysql_server;
