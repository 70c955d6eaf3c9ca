//! Whether a value is what its reader can use: found here, a mistake is told at the field that refers to it; found by the
//! gateway, it would hold up every other change. Problems never hold a value.

use std::collections::BTreeMap;

use duo_core::inputs::Form;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Checks one value. `companion`: the certificate of a key.
pub(crate) fn check(form: Form, value: &[u8], companion: Option<&[u8]>) -> Result<(), String> {
    match form {
        Form::Text => match std::str::from_utf8(value) {
            Ok(text) if !text.trim().is_empty() => Ok(()),
            Ok(_) => Err("is blank".to_owned()),
            Err(_) => Err("is not text".to_owned()),
        },
        Form::Certificates => certificates(value).map(drop),
        Form::KeyOf(name) => {
            let chain =
                certificates(companion.unwrap_or_default()).map_err(|problem| format!("(its {name} {problem})"))?;
            let key = PrivateKeyDer::from_pem_slice(value).map_err(|_| "is not a PEM private key".to_owned())?;
            let provider = rustls::crypto::aws_lc_rs::default_provider();
            match rustls::sign::CertifiedKey::from_der(chain, key, &provider) {
                Ok(_) => Ok(()),
                Err(rustls::Error::InconsistentKeys(_)) => Err(format!("is not the private key of {name}")),
                Err(_) => Err("is not a private key that can be used, or its certificate is not".to_owned()),
            }
        }
        Form::ServiceAccountKey => service_account(value),
    }
}

/// What the gateway needs of a service account's key; what it says never repeats the content.
fn service_account(value: &[u8]) -> Result<(), String> {
    let cure =
        "make a JSON key of a service account (gcloud iam service-accounts keys create) and put the file here whole";
    let Ok(file) = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(value) else {
        // where it fails would tell of its content
        return Err(format!("is not a JSON object; {cure}"));
    };
    let text = |name: &str| file.get(name).and_then(serde_json::Value::as_str).filter(|text| !text.trim().is_empty());
    let known = ["authorized_user", "external_account", "impersonated_service_account"];
    match text("type") {
        Some("service_account") => {}
        Some(kind) if known.contains(&kind) => return Err(format!("holds credentials of type {kind}; {cure}")),
        _ => return Err(format!("has no type \"service_account\"; {cure}")),
    }
    if let Some(lacking) = ["client_email", "private_key"].into_iter().find(|name| text(name).is_none()) {
        return Err(format!("has no {lacking}; {cure}"));
    }
    for optional in ["private_key_id", "token_uri", "project_id"] {
        if file.get(optional).is_some_and(|value| !value.is_string() && !value.is_null()) {
            return Err(format!("has a {optional} that is no text; {cure}"));
        }
    }
    let pem = text("private_key").unwrap_or_default();
    let rsa = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok().and_then(|key| {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.key_provider.load_private_key(key).ok()
    });
    match rsa.filter(|key| key.algorithm() == rustls::SignatureAlgorithm::RSA) {
        Some(_) => Ok(()),
        None => Err(format!("has a private_key that is not a PEM RSA key; {cure}")),
    }
}

fn certificates(value: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(value).collect::<Result<_, _>>().map_err(|_| "is not PEM".to_owned())?;
    if found.is_empty() {
        return Err("holds no PEM certificate".to_owned());
    }
    let mut store = rustls::RootCertStore::empty();
    match found.iter().all(|certificate| store.add(certificate.clone()).is_ok()) {
        true => Ok(found),
        false => Err("holds a certificate that cannot be read".to_owned()),
    }
}

/// A Secret's keys and values as a JSON object of HTTP headers.
pub(crate) fn headers(data: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, String> {
    let mut headers = serde_json::Map::new();
    for (name, value) in data {
        let usable = std::str::from_utf8(value).ok().map(str::trim);
        let usable = usable.filter(|text| !text.is_empty() && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        let Some(text) = usable else {
            return Err(format!("key {name:?} is no HTTP header's value: one line of ASCII"));
        };
        headers.insert(name.clone(), text.into());
    }
    if headers.is_empty() {
        return Err("it has no keys; each key is a header's name".to_owned());
    }
    serde_json::to_vec(&headers).map_err(|_| "its keys cannot be written as JSON".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Form, value, the key's certificate, words of the problem.
    type Case<'a> = (Form, &'a [u8], Option<&'a [u8]>, Option<&'a str>);

    fn identity(name: &str) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn certificates_and_keys_are_checked_together() {
        let ((certificate, key), (authority, other_key)) = (identity("one"), identity("authority"));
        let chain = format!("{certificate}{authority}");
        let cut = &certificate.as_bytes()[..certificate.len() / 2];
        let cases: [Case<'_>; 9] = [
            (Form::Certificates, chain.as_bytes(), None, None),
            (
                Form::Certificates,
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                None,
                Some("cannot be read"),
            ),
            (Form::Certificates, b"hello", None, Some("no PEM certificate")),
            (Form::Certificates, cut, None, Some("PEM")),
            (Form::KeyOf("tls.crt"), key.as_bytes(), Some(chain.as_bytes()), None),
            (
                Form::KeyOf("tls.crt"),
                other_key.as_bytes(),
                Some(chain.as_bytes()),
                Some("not the private key of tls.crt"),
            ),
            (Form::KeyOf("tls.crt"), b"x", Some(chain.as_bytes()), Some("not a PEM private key")),
            (Form::KeyOf("tls.crt"), key.as_bytes(), Some(b"x"), Some("its tls.crt")),
            (Form::Text, b" \n", None, Some("blank")),
        ];
        for (form, value, companion, expected) in cases {
            let found = check(form, value, companion).err();
            match (&found, expected) {
                (None, None) => {}
                (Some(problem), Some(words)) if problem.contains(words) => {}
                _ => panic!("{form:?}: {found:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn a_service_accounts_key_is_refused_for_what_the_gateway_would_refuse() {
        let rsa = rsa_key();
        let file = |change: serde_json::Value| {
            let mut file = serde_json::json!({
                "type": "service_account", "client_email": "duo@p.iam.gserviceaccount.com", "private_key": rsa,
                "token_uri": "https://oauth2.googleapis.com/token", "project_id": "p",
            });
            for (name, value) in change.as_object().unwrap() {
                file[name] = value.clone();
            }
            file.to_string()
        };
        let whole = file(serde_json::json!({}));
        let (_, elliptic) = identity("one");
        let cases = [
            (whole.clone(), None),
            (whole[..whole.len() / 2].to_owned(), Some("is not a JSON object")),
            ("SECRET-WORD".to_owned(), Some("is not a JSON object")),
            ("[1]".to_owned(), Some("is not a JSON object")),
            (file(serde_json::json!({"type": "authorized_user"})), Some("of type authorized_user")),
            (file(serde_json::json!({"type": "SECRET-WORD"})), Some("has no type")),
            (file(serde_json::json!({"type": null})), Some("has no type")),
            (file(serde_json::json!({"private_key": null})), Some("has no private_key")),
            (file(serde_json::json!({"private_key": 7})), Some("has no private_key")),
            (file(serde_json::json!({"client_email": " "})), Some("has no client_email")),
            (file(serde_json::json!({"private_key": "SECRET-WORD"})), Some("not a PEM RSA key")),
            (file(serde_json::json!({"private_key": rsa[..rsa.len() / 2]})), Some("not a PEM RSA key")),
            (file(serde_json::json!({"private_key": elliptic})), Some("not a PEM RSA key")),
            (file(serde_json::json!({"token_uri": ["SECRET-WORD"]})), Some("token_uri that is no text")),
        ];
        for (value, expected) in cases {
            let found = check(Form::ServiceAccountKey, value.as_bytes(), None).err();
            assert_eq!(found.is_some(), expected.is_some(), "{found:?}, expected {expected:?}");
            let found = found.unwrap_or_default();
            assert!(found.contains(expected.unwrap_or_default()) && !found.contains("SECRET-WORD"), "{found}");
            assert!(expected.is_none() || found.contains("gcloud iam service-accounts keys create"), "{found}");
        }
    }

    fn rsa_key() -> String {
        use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
        let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
        pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref().to_vec()))
    }

    #[test]
    fn headers_are_a_json_object() {
        let data =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect();
        assert_eq!(headers(&data(&[("authorization", "Bearer x\n")])).unwrap(), br#"{"authorization":"Bearer x"}"#);
        assert!(headers(&data(&[("x", "a\nb")])).unwrap_err().contains("\"x\""));
        assert!(headers(&data(&[])).unwrap_err().contains("no keys"));
    }
}
