//! Ed25519 in the module. Its arithmetic uses other machine words than the control plane's; a signature that only one
//! of the two accepts would be a bypass. The signer here chooses points that an honest signer never makes.

use ct_codecs::{Base64UrlSafeNoPadding, Encoder as _};
use curfew_testbed::tokens;
use curfew_testbed::wasm_host::Host;
use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

use crate::support::{admitted, claims_of, configured, refused, send, send_and_answer};

/// A key `secret * B`, plus a part of small order if `torsion` is not 0.
struct Signer {
    secret: Scalar,
    encoding: [u8; 32],
}

fn hashed(parts: &[&[u8]]) -> Scalar {
    let hash = parts.iter().fold(Sha512::new(), |hash, part| hash.chain_update(part)).finalize();
    Scalar::from_bytes_mod_order_wide(&hash.into())
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    Base64UrlSafeNoPadding::encode_to_string(bytes).unwrap()
}

impl Signer {
    fn new(torsion: usize) -> Self {
        let secret = hashed(&[b"secret"]);
        let point = EdwardsPoint::mul_base(&secret) + EIGHT_TORSION[torsion];
        Self { secret, encoding: point.compress().to_bytes() }
    }

    fn jwks(&self) -> Value {
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": base64url(self.encoding)}]})
    }

    /// A signature whose equation holds times the cofactor, for an R with a part of small order; and with `more` added
    /// to S.
    fn sign(&self, claims: &Value, torsion: usize, more: Scalar) -> String {
        let signed = format!("{}.{}", base64url(r#"{"alg":"EdDSA"}"#), base64url(claims.to_string()));
        let nonce = hashed(&[b"nonce", signed.as_bytes()]);
        let r = (EdwardsPoint::mul_base(&nonce) + EIGHT_TORSION[torsion]).compress().to_bytes();
        let s = nonce + hashed(&[&r, &self.encoding, signed.as_bytes()]) * self.secret + more;
        format!("{signed}.{}", base64url([r, s.to_bytes()].concat()))
    }
}

#[test]
fn parts_of_small_order_change_nothing_and_anything_else_does() {
    for torsion in 0..EIGHT_TORSION.len() {
        let signer = Signer::new(torsion);
        let issuers = json!({"issuers": [{"issuer": tokens::ISSUER, "jwks": signer.jwks()}]});
        let mut host = Host::start(&configured(issuers)).unwrap();
        for part in 0..EIGHT_TORSION.len() {
            let claims = claims_of(&format!("user-{part}"));
            let token = signer.sign(&claims, part, Scalar::ZERO);
            admitted(&send_and_answer(&mut host, &token, "active").unwrap()).unwrap();
            for wrong in [Scalar::ONE, -Scalar::ONE, Scalar::from(1_u64 << 40)] {
                let forged = signer.sign(&claims, part, wrong);
                refused(&send(&mut host, &forged).unwrap().1, 401, "token_invalid");
            }
        }
    }
}
