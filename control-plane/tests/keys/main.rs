//! Where keys come from: stories over real sockets, with providers that answer what a story wants.

#[cfg(test)]
mod allowed;
#[cfg(test)]
mod asked;
#[cfg(test)]
mod caching;
#[cfg(test)]
mod discovering;
#[cfg(test)]
mod fetching;
#[cfg(test)]
mod files;
#[cfg(test)]
mod first;
#[cfg(test)]
mod provider;
#[cfg(test)]
mod redirected;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod thrown_away;
#[cfg(test)]
mod trusted;
