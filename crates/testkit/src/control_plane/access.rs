//! Who talks to the API server: clients and kubeconfigs for administrators, any user, and service accounts.

use std::path::PathBuf;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client, Config};

use super::ControlPlane;
use super::programs::Files;
use crate::error::{Error, Result};
use crate::pki::{Login, Token, kubeconfig};

/// How long a service account's token of ours is good: longer than any suite.
const TOKEN_SECONDS: i64 = 24 * 3600;

pub(super) fn admin_config(files: &Files) -> Config {
    // the URL is ours and always parses; without one every request would fail and say so
    let mut config = Config::new(files.url.parse().unwrap_or_default());
    config.root_cert = pem::parse(&files.ca_pem).ok().map(|pem| vec![pem.into_contents()]);
    config.auth_info.client_certificate_data = Some(base64(&files.admin.cert_pem));
    config.auth_info.client_key_data = Some(base64(&files.admin.key_pem).into());
    config
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

impl ControlPlane {
    pub(super) fn client_from(&self, config: Config) -> Result<Client> {
        Client::try_from(config).map_err(Error::kube("make a Kubernetes client"))
    }

    /// A client of any user in any groups (an administrator impersonates them), with exactly that user's rights. In the
    /// audit log ([`Write::user`](super::Write)) the user is `user`. Only `system:authenticated` is added to `groups`.
    pub fn client_for(&self, user: &str, groups: &[&str]) -> Result<Client> {
        let mut config = self.config();
        config.auth_info.impersonate = Some(user.to_owned());
        config.auth_info.impersonate_groups = Some(groups.iter().map(|group| (*group).to_owned()).collect());
        self.client_from(config)
    }

    /// A client with a service account's exact rights; it need not exist.
    pub fn client_for_service_account(&self, namespace: &str, name: &str) -> Result<Client> {
        let own_group = format!("system:serviceaccounts:{namespace}");
        self.client_for(
            &format!("system:serviceaccount:{namespace}:{name}"),
            &["system:serviceaccounts", &own_group, "system:authenticated"],
        )
    }

    /// Writes a kubeconfig for `user` in `groups`; rights as with [`Self::client_for`].
    pub fn kubeconfig_for(&self, user: &str, groups: &[&str]) -> Result<PathBuf> {
        let files = &self.programs.files;
        let login = Login::As {
            identity: files.admin.clone(),
            user: user.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        };
        self.write_kubeconfig(user, &login, "default")
    }

    /// Writes a kubeconfig that holds a real token of an existing service account (TokenRequest, good for a day), with
    /// its namespace as the default one. A program run with it has exactly the rights it would have as a pod.
    pub async fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let token = self.service_account_token(namespace, name).await?;
        self.write_kubeconfig(&format!("{namespace}-{name}"), &Login::Token(token), namespace)
    }

    /// As [`Self::kubeconfig_for_service_account`], for a server in front of this one: its URL and its authority (PEM).
    pub async fn kubeconfig_by_way_of(
        &self,
        server: &str,
        ca_pem: &str,
        namespace: &str,
        name: &str,
    ) -> Result<PathBuf> {
        let token = self.service_account_token(namespace, name).await?;
        let text = kubeconfig(server, ca_pem, &Login::Token(token), namespace);
        let port = server.rsplit(':').next().unwrap_or_default();
        self.folder.write(&format!("{namespace}-{name}-{port}.kubeconfig"), &text)
    }

    /// What the API server's certificate is checked against, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.programs.files.ca_pem
    }

    /// A token of an existing service account, good for a day.
    pub async fn service_account_token(&self, namespace: &str, name: &str) -> Result<Token> {
        let doing = format!("request a token for service account {namespace}/{name}");
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.client()?, namespace);
        let answer = api
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .map_err(Error::kube(doing.clone()))?;
        let status =
            answer.status.ok_or_else(|| Error::Invalid { what: doing, why: "the answer has no status".into() })?;
        Ok(Token(status.token))
    }

    fn write_kubeconfig(&self, name: &str, login: &Login, namespace: &str) -> Result<PathBuf> {
        let files = &self.programs.files;
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        self.folder.write(&format!("{name}.kubeconfig"), &kubeconfig(&files.url, &files.ca_pem, login, namespace))
    }
}
