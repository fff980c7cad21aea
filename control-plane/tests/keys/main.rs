//! Where keys come from: stories over real sockets, with providers that answer what a story wants.

#[cfg(test)]
mod allowed;
#[cfg(test)]
mod caching;
#[cfg(test)]
mod discovering;
#[cfg(test)]
mod fetching;
#[cfg(test)]
mod files;
#[cfg(test)]
mod provider;
#[cfg(test)]
mod redirected;
