//! What MySQL and MariaDB say of their server, in the words of a statement.

/// Whether the server takes no writes, and its name. MariaDB has no name that is unlike that of any other server, so
/// several properties stand for it. Each of the two reads its own part of the text by the marks of the comments. Newer
/// versions of MariaDB say OFF for 0.
macro_rules! mysql_server {
    () => {
        "CASE WHEN CAST(@@global.read_only AS CHAR) IN ('0', 'OFF') THEN 0 ELSE 1 END AS follows, \
         /*M! CONCAT(@@hostname, ':', @@port, ':', @@server_id, ':', @@datadir) */ /*!80000 @@server_uuid */ AS server"
    };
}
pub(in crate::store::sql) use mysql_server;
