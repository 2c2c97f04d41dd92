//! Service-account tokens: made and checked with the cluster's own key (ES256, RFC 7515 and 7518).
//!
//! Only signature, times, issuer and audiences are judged here; whether the account and the object that a token is
//! bound to are still there is asked by authn.

use crate::{Config, Error, pki::Pki};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};

/// A token is a few hundred bytes; what is longer is not one of ours and not worth decoding.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Clocks of the same machine that stepped back a little.
const LEEWAY_SECONDS: i64 = 5;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    #[serde(default)]
    pub aud: Vec<String>,
    pub exp: i64,
    pub iat: i64,
    pub iss: String,
    #[serde(default)]
    pub jti: String,
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Bound,
    pub nbf: i64,
    pub sub: String,
}

/// What a token is bound to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    pub serviceaccount: Reference,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub name: String,
    pub uid: String,
}

/// Why a token is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not a token of this issuer at all, expired, or not signed by it.
    Invalid,
    /// A good token for others.
    Audience { token: Vec<String>, asked: Vec<String> },
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |l: &[String]| l.iter().map(|a| format!("{a:?}")).collect::<Vec<_>>().join(" ");
        match self {
            Refusal::Invalid => f.write_str("invalid bearer token"),
            Refusal::Audience { token, asked } => write!(
                f,
                "[invalid bearer token, token audiences [{}] is invalid for the target audiences [{}]]",
                list(token),
                list(asked)
            ),
        }
    }
}

pub(crate) struct Tokens {
    key: EcdsaKeyPair,
    key_id: String,
    issuer: String,
    random: SystemRandom,
}

impl Tokens {
    pub(crate) fn open(config: &Config, pki: &Pki) -> Result<Tokens, Error> {
        Tokens::new(pki.service_account_key.secret_pkcs8_der(), &config.issuer)
    }

    fn new(pkcs8: &[u8], issuer: &str) -> Result<Tokens, Error> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)
            .map_err(|e| Error::Pki(format!("reading pki/sa.key: {e}; it must be an ECDSA P-256 key")))?;
        let digest = ring::digest::digest(&ring::digest::SHA256, key.public_key().as_ref());
        Ok(Tokens { key_id: BASE64.encode(digest), key, issuer: issuer.to_owned(), random })
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The compact form of a token with these claims.
    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, ring::error::Unspecified> {
        let header = serde_json::json!({"alg": "ES256", "kid": self.key_id});
        let claims = serde_json::to_vec(claims).map_err(|_| ring::error::Unspecified)?;
        let mut token = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims));
        let signature = self.key.sign(&self.random, token.as_bytes())?;
        token.push('.');
        BASE64.encode_string(signature, &mut token);
        Ok(token)
    }

    /// The claims of a token that this issuer made, that is good at `now` (seconds) and meant for one of `audiences`.
    pub(crate) fn check(&self, token: &str, audiences: &[String], now: i64) -> Result<Claims, Refusal> {
        let claims = self.claims(token).ok_or(Refusal::Invalid)?;
        let timely = claims.nbf <= now + LEEWAY_SECONDS && now < claims.exp + LEEWAY_SECONDS;
        if claims.iss != self.issuer || !timely {
            return Err(Refusal::Invalid);
        }
        match claims.aud.iter().any(|a| audiences.contains(a)) {
            true => Ok(claims),
            false => Err(Refusal::Audience { token: claims.aud, asked: audiences.to_vec() }),
        }
    }

    fn claims(&self, token: &str) -> Option<Claims> {
        #[derive(Deserialize)]
        struct Header {
            alg: String,
            kid: String,
        }
        let (signed, signature) = token.rsplit_once('.').filter(|_| token.len() <= TOKEN_BYTES_MAX)?;
        let (header, claims) = signed.split_once('.')?;
        let header: Header = serde_json::from_slice(&BASE64.decode(header).ok()?).ok()?;
        if header.alg != "ES256" || header.kid != self.key_id {
            return None;
        }
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref());
        key.verify(signed.as_bytes(), &BASE64.decode(signature).ok()?).ok()?;
        serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()
    }

    /// The public key as `/openid/v1/jwks` shows it.
    pub(crate) fn key_set(&self) -> serde_json::Value {
        // An uncompressed point (SEC 1, 2.3.3): 4, then x and y of 32 bytes each.
        let point = self.key.public_key().as_ref();
        let (x, y) = (BASE64.encode(&point[1..33]), BASE64.encode(&point[33..65]));
        serde_json::json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.key_id, "crv": "P-256", "alg": "ES256", "x": x, "y": y,
        }]})
    }

    /// `/.well-known/openid-configuration`.
    pub(crate) fn discovery(&self, jwks_uri: &str) -> serde_json::Value {
        serde_json::json!({
            "issuer": self.issuer,
            "jwks_uri": jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

    fn tokens() -> Tokens {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Tokens::new(key.as_ref(), ISSUER).unwrap()
    }

    fn claims() -> Claims {
        let account = Reference { name: "x".into(), uid: "u".into() };
        let kubernetes = Bound { namespace: "n".into(), serviceaccount: account, ..Bound::default() };
        Claims {
            aud: vec!["a".into()],
            exp: 2000,
            iat: 1000,
            iss: ISSUER.into(),
            jti: "j".into(),
            kubernetes,
            nbf: 1000,
            sub: "system:serviceaccount:n:x".into(),
        }
    }

    fn check(tokens: &Tokens, token: &str, now: i64) -> Result<Claims, Refusal> {
        tokens.check(token, &["a".to_owned()], now)
    }

    #[test]
    fn a_token_is_good_from_its_first_to_its_last_second_only() {
        let tokens = tokens();
        let token = tokens.sign(&claims()).unwrap();
        for (now, good) in [(900, false), (1000, true), (1999, true), (2010, false)] {
            assert_eq!(check(&tokens, &token, now).is_ok(), good, "{now}");
        }
    }

    #[test]
    fn a_changed_or_foreign_token_is_refused() {
        let (ours, theirs) = (tokens(), tokens());
        let token = ours.sign(&claims()).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let other = Claims { sub: "system:serviceaccount:kube-system:admin".into(), ..claims() };
        let forged = BASE64.encode(serde_json::to_vec(&other).unwrap());
        let none = BASE64.encode(format!("{{\"alg\":\"none\",\"kid\":{:?}}}", ours.key_id));
        let cases = [
            theirs.sign(&claims()).unwrap(),
            format!("{}.{forged}.{}", parts[0], parts[2]),
            format!("{none}.{}.", parts[1]),
            format!("{}.{}.", parts[0], parts[1]),
            "x".into(),
            "..".into(),
            "a".repeat(TOKEN_BYTES_MAX + 1),
        ];
        for case in cases {
            assert_eq!(check(&ours, &case, 1500), Err(Refusal::Invalid), "{case:.80}");
        }
        assert_eq!(check(&ours, &token, 1500), Ok(claims()));
    }

    #[test]
    fn a_token_for_others_is_refused_by_name() {
        let tokens = tokens();
        let token = tokens.sign(&claims()).unwrap();
        let refusal = tokens.check(&token, &["b".to_owned()], 1500).unwrap_err();
        let expected = "[invalid bearer token, token audiences [\"a\"] is invalid for the target audiences [\"b\"]]";
        assert_eq!(refusal.to_string(), expected);
    }

    #[test]
    fn another_issuer_is_refused() {
        let tokens = tokens();
        let token = tokens.sign(&Claims { iss: "https://example.com".into(), ..claims() }).unwrap();
        assert_eq!(check(&tokens, &token, 1500), Err(Refusal::Invalid));
    }
}
