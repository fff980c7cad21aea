//! Everything that is done to a mesh. Each fault is undone before its function returns, and where an effect can be
//! counted the function fails if nothing happened.

mod crowd;
mod network;
mod planes;
mod redis;
mod sql;
mod workers;

pub(crate) use network::{Cut, cut_envoy, cut_plane_from_all, cut_redis, cut_sql, delay_redis, lose_packets};
pub(crate) use planes::{
    Parts, fill_disk, kill_all_planes, kill_and_start, kill_at_random, kill_in_turn, restart_in_turn,
};
pub(crate) use redis::{evict, flush, kill_redis, replace_redis};
pub(crate) use sql::{crowd_out, freeze_sql, kill_sql, kill_sql_and_redis};
pub(crate) use workers::{stop_envoy, trap, update_listeners};
