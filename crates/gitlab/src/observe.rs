//! Reading: settings, models, features, licence, token, health.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    client::{Client, anonymous},
    documents::{self, Document},
    error::{Error, Result},
    rehearsal::Rehearsal,
    token::{Token, scrub},
    transport::Call,
    types::{
        AddOn, DuoSettings, FeatureSetting, License, Metadata, Observation, Probe, Rights, SelfHostedModel, TokenInfo,
    },
};

/// Most pages of a hundred entries that are followed. An instance with 5,000 models is not one of this world.
const MOST_PAGES: usize = 50;

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Connection<T> {
    nodes: Option<Vec<Option<T>>>,
    #[serde(rename = "pageInfo")]
    page_info: PageInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    has_next_page: bool,
    end_cursor: Option<String>,
}

impl<T> Connection<T> {
    fn next(&self) -> Option<String> {
        self.page_info.end_cursor.clone().filter(|_| self.page_info.has_next_page)
    }

    fn into_nodes(self) -> impl Iterator<Item = T> {
        self.nodes.unwrap_or_default().into_iter().flatten()
    }
}

/// One answer of the observing queries; each selects a part of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(default)]
    duo_settings: Option<DuoSettings>,
    #[serde(default)]
    ai_self_hosted_models: Option<Connection<SelfHostedModel>>,
    #[serde(default)]
    ai_feature_settings: Option<Connection<FeatureSetting>>,
}

impl Client {
    /// Reads version, settings, models and features, all pages of them.
    ///
    /// An unlisted model is not proof that it does not exist, see [`Observation::models`].
    pub async fn observe(&self) -> Result<Observation> {
        let Some(rehearsal) = &self.rehearsal else { return self.look().await };
        if let Some(now) = rehearsal.now() {
            return Ok(now);
        }
        let seen = self.look().await?;
        rehearsal.begin(seen.clone());
        Ok(seen)
    }

    async fn look(&self) -> Result<Observation> {
        let before = self.capabilities().await?;
        let mut page = self.first_page().await?;
        let mut metadata = page.metadata.take().ok_or_else(anonymous)?;
        if *self.note_version(&metadata).await? != *before {
            // GitLab was upgraded since the last reading: what was read lacks the new fields
            page = self.first_page().await?;
            metadata = page.metadata.take().ok_or_else(anonymous)?;
        }
        let mut models = None;
        if let Some(first) = page.ai_self_hosted_models {
            models = Some(self.follow(documents::MODELS_PAGE, first, |p| p.ai_self_hosted_models).await?);
        }
        let mut features = None;
        if let Some(first) = page.ai_feature_settings {
            features = Some(self.follow(documents::FEATURES_PAGE, first, |p| p.ai_feature_settings).await?);
        }
        Ok(Observation { metadata, settings: page.duo_settings, models, features })
    }

    /// The settings as they are; empty when the token's user may not read them.
    pub(crate) async fn settings(&self) -> Result<DuoSettings> {
        Ok(self.first_page().await?.duo_settings.unwrap_or_default())
    }

    async fn first_page(&self) -> Result<Page> {
        // on an online licence the list of features may wait 5 s for GitLab's cloud
        self.run(self.slow_call(documents::OBSERVE), documents::OBSERVE, |_| json!({})).await
    }

    /// Collects a list that GitLab cuts at a hundred entries without a word.
    async fn follow<T>(
        &self,
        document: Document,
        first: Connection<T>,
        pick: impl Fn(Page) -> Option<Connection<T>>,
    ) -> Result<Vec<T>> {
        let mut cursor = first.next();
        let mut all: Vec<T> = first.into_nodes().collect();
        let mut pages = 1;
        while let Some(after) = cursor {
            pages += 1;
            if pages > MOST_PAGES {
                return Err(Error::UnexpectedAnswer {
                    operation: document.operation,
                    what: format!("more than {MOST_PAGES} pages"),
                });
            }
            let page: Page =
                self.run(self.slow_call(document), document, |_| json!({ "after": after.as_str() })).await?;
            let connection = pick(page).ok_or_else(|| Error::UnexpectedAnswer {
                operation: document.operation,
                what: "a later page is null".into(),
            })?;
            cursor = connection.next().filter(|next| *next != after);
            all.extend(connection.into_nodes());
        }
        Ok(all)
    }

    /// Runs GitLab's health check. It takes seconds: GitLab runs all probes one after the other, on each call.
    ///
    /// Judge probe by probe; on 19.x the whole fails for the lack of a runner. It never calls a model.
    pub async fn health_check(&self) -> Result<Vec<Probe>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Status {
            probe_results: Option<Vec<Probe>>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Data {
            cloud_connector_status: Option<Status>,
        }
        if let Some(probes) = self.rehearsal.as_ref().and_then(Rehearsal::health) {
            return Ok(probes);
        }
        let document = documents::HEALTH_CHECK;
        let data: Data = self.run(self.slow_call(document), document, |_| json!({})).await?;
        let status = data.cloud_connector_status.ok_or_else(|| lacks(document, "cloudConnectorStatus"))?;
        let probes: Vec<Probe> = status.probe_results.unwrap_or_default().into_iter().map(|p| self.clean(p)).collect();
        if let Some(rehearsal) = &self.rehearsal {
            rehearsal.keep_health(probes.clone());
        }
        Ok(probes)
    }

    /// Edition, licence and active add-ons. For administrators: others are refused.
    pub async fn rights(&self) -> Result<Rights> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Data {
            metadata: Option<Metadata>,
            current_license: Option<License>,
            add_on_purchases: Option<Vec<AddOn>>,
        }
        let data: Data = self.run(self.call(documents::RIGHTS), documents::RIGHTS, |_| json!({})).await?;
        Ok(Rights {
            metadata: data.metadata.ok_or_else(anonymous)?,
            license: data.current_license,
            add_ons: data.add_on_purchases.unwrap_or_default(),
        })
    }

    /// The token's own description: scopes and expiry. Works with any personal access token of scope `api` or
    /// `read_api`, an administrator's or not.
    pub async fn token_self(&self) -> Result<TokenInfo> {
        let operation = "PersonalAccessTokenSelf";
        let call = Call { operation, timeout: self.transport.timeout(), secret: None, write: false };
        let body = self.transport.get_rest(call, "personal_access_tokens/self").await?;
        serde_json::from_slice(&body).map_err(|e| Error::NotGraphQl {
            operation,
            what: format!("invalid JSON at line {} column {}", e.line(), e.column()),
        })
    }

    /// Whether GitLab is in Silent Mode, in which it sends nothing out but requests that read (REST); `None`: this token is
    /// not told, or this GitLab does not know.
    ///
    /// # Errors
    /// GitLab could not be asked.
    pub async fn silent_mode(&self) -> Result<Option<bool>> {
        #[derive(serde::Deserialize)]
        struct Settings {
            #[serde(default)]
            silent_mode_enabled: Option<bool>,
        }
        let call =
            Call { operation: "ApplicationSettings", timeout: self.transport.timeout(), secret: None, write: false };
        match self.transport.get_rest(call, "application/settings").await {
            Ok(body) => Ok(serde_json::from_slice::<Settings>(&body).ok().and_then(|told| told.silent_mode_enabled)),
            Err(error) if error.is_transient() => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Texts of probes come from the gateway and from model servers; they are cleaned like GitLab's own.
    pub(crate) fn clean(&self, probe: Probe) -> Probe {
        self.clean_with(probe, None)
    }

    pub(crate) fn clean_with(&self, probe: Probe, secret: Option<&Token>) -> Probe {
        let secrets: Vec<&Token> = std::iter::once(self.token()).chain(secret).collect();
        let Probe { name, success, message, errors, details } = probe;
        Probe {
            name: scrub(&name, &secrets),
            success,
            message: message.map(|m| scrub(&m, &secrets)),
            errors: errors.iter().map(|e| scrub(e, &secrets)).collect(),
            details: scrub_json(details, &secrets),
        }
    }
}

fn scrub_json(value: Value, secrets: &[&Token]) -> Value {
    match value {
        Value::String(text) => Value::String(scrub(&text, secrets)),
        Value::Array(items) => items.into_iter().map(|v| scrub_json(v, secrets)).collect(),
        Value::Object(map) => map.into_iter().map(|(k, v)| (k, scrub_json(v, secrets))).collect(),
        other => other,
    }
}

fn lacks(document: Document, what: &str) -> Error {
    Error::TokenLacksRights { operation: document.operation, message: format!("GitLab gives no {what} to this token") }
}
