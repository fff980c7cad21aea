//! The parts of statements that ask MySQL and MariaDB about their server.
//!
//! A run of the server is told by the second of its start and a byte of its id. No variable holds that, but
//! `UUID_SHORT()` was initialised with it, and counts up in the 24 bits below. After 16,777,216 calls by all clients, the
//! second counts up, too. This looks like another run, and costs a new epoch. It is no second of a later start, because
//! so many calls take longer than a second. Two runs look like one only if both started in the same second of the
//! wall clock.

/// Whether the server takes no writes, and its name. MySQL and MariaDB each read their own part of the text, by the
/// marks of the comments. Newer versions of MariaDB return OFF for 0.
///
/// A replica says `read_only`, which `super_read_only` turns on, too. A reader of Aurora says `innodb_read_only` alone.
/// MariaDB has no unique name for a server, so several properties together take its place.
macro_rules! mysql_server {
    () => {
        "CASE WHEN CAST(@@global.read_only AS CHAR) IN ('0', 'OFF') \
          AND CAST(@@global.innodb_read_only AS CHAR) IN ('0', 'OFF') THEN 0 ELSE 1 END AS follows, \
         /*M! CONCAT(@@hostname, ':', @@port, ':', @@server_id, ':', @@datadir) */ /*!80000 @@server_uuid */ AS server"
    };
}
pub(in crate::store::sql) use mysql_server;

/// Notes the run in the session, which does not outlive it. So one number is used up for each connection, and not one for
/// each statement. If the second has counted up, sessions with the earlier note and new ones differ: then nothing is
/// believed, all connections are made anew, and the writer begins a new epoch.
macro_rules! note_run {
    () => {
        "SET @curfew_run = UUID_SHORT() >> 24"
    };
}
pub(in crate::store::sql) use note_run;

/// The run that the session has noted. The session of a proxy may have lost its note.
macro_rules! noted_run {
    () => {
        "CAST(COALESCE(@curfew_run, UUID_SHORT() >> 24) AS CHAR) AS run"
    };
}
pub(in crate::store::sql) use noted_run;
