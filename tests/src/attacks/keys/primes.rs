//! The RSA key of [`Keys::fixed`](super::Keys::fixed), as its two primes. It protects nothing.

use anyhow::{Context as _, Result};
use superboring::reexports::rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
use superboring::reexports::rsa::{BigUint, RsaPrivateKey};

const P: &str = concat!(
    "c33ebd10eac7de1d8995b9ac353640850628a07bba29f0a4479ab68f0369571c",
    "ad12a8ffdd5665e39887b52657e14c9bb2bdbb1aa6d28cd608ad4af0a53dee13",
    "1a57252d496d6998b50a04e1c3cb38955e8896b42d81dd8a85538e584c1c6899",
    "fd009ba1292c1e5856ef65336f16a86103793e599d989cde70bdf2cfd893d483",
);

const Q: &str = concat!(
    "d0d1453dd5cc3797a217d910d90012b7f5912058a44d798821cba3ed16c95e4a",
    "02f754097e123852cc66019a93a6eb02da6d47256239ed31fb3a348096f7eaf3",
    "1b52ff8e2a0717829537605d3437dcde4123d6f4caa86bc21cc12728ba3f82da",
    "f4063922023cbe994c3d00400f13ff012d19423945d90763a0ea8abb19007707",
);

/// The key in PKCS#8, as PEM.
pub(crate) fn rsa_pem() -> Result<String> {
    let prime = |digits: &str| BigUint::parse_bytes(digits.as_bytes(), 16).context("hexadecimal digits");
    let key = RsaPrivateKey::from_p_q(prime(P)?, prime(Q)?, BigUint::from(65537_u32))?;
    Ok(key.to_pkcs8_pem(LineEnding::LF)?.to_string())
}
