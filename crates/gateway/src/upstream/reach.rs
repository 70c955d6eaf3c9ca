//! What a declared place has of its own on top of what all places have in common.

use duo_gateway_config::Connection;

use super::bedrock::{Account, Role};
use super::way::{ClientCertificate, ProxyChoice, Way};
use crate::config_store::{LoadError, Mounted};
use crate::secret::Secret;

/// The common way with what the connection says otherwise.
pub(super) fn way(connection: &Connection, mounted: &Mounted, common: &Way) -> Result<Way, LoadError> {
    let mut way = common.clone();
    if let Some(file) = &connection.ca_bundle_file {
        let problem = |problem| LoadError::File { file: file.clone(), problem };
        way.trust = way.trust.with(&[(file, mounted.secret(file)?.expose().as_bytes())]).map_err(problem)?;
    }
    if let Some(files) = &connection.client_certificate {
        let (certificate, key) = (mounted.secret(&files.certificate_file)?, mounted.secret(&files.key_file)?);
        let names = (files.certificate_file.as_str(), files.key_file.as_str());
        way.certificate = Some(ClientCertificate::read(&certificate, &key, names)?);
    }
    match connection.proxy_url.as_deref().map(str::trim) {
        None => {}
        Some("") => way.proxy = ProxyChoice::None,
        Some(url) => way.proxy = ProxyChoice::One(Secret::new(url)),
    }
    Ok(way)
}

/// The common account with what the connection says otherwise.
pub(super) fn account(connection: &Connection, common: &Account) -> Account {
    let mut account = common.clone();
    if let Some(region) = &connection.region
        && account.region.as_ref() != Some(region)
    {
        account.region = Some(region.clone());
        // it serves the other region
        account.endpoint = None;
    }
    if let Some(endpoint) = &connection.endpoint {
        account.endpoint = Some(endpoint.clone());
    }
    account.role = connection.assume_role.as_ref().map(|role| Role {
        arn: role.role_arn.clone(),
        external_id: role.external_id.clone(),
        sts_endpoint: role.sts_endpoint.clone(),
    });
    account
}
