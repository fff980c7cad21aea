//! One behavioural suite over the store, on each kind of database. It is written once, and each failure names the
//! database.

#[cfg(test)]
mod adopted;
#[cfg(test)]
mod clean_up;
#[cfg(test)]
mod control_planes;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod delays;
#[cfg(test)]
mod history;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod keyspaces;
#[cfg(test)]
mod logouts;
#[cfg(test)]
mod order;
#[cfg(test)]
mod place;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod prolonged;
#[cfg(test)]
mod servers;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod spelling;
#[cfg(test)]
mod ties;
