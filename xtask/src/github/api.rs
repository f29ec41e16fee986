//! Requests to the API of GitHub, through octocrab.
//!
//! ```text
//! api.github.com       token    releases, assets, tags
//! uploads.github.com   token    the host that a release names for its uploads
//! any other host       nothing  where a download is redirected to
//! ```
//!
//! The token goes to these two and to no other host; each has a client of its own.

use super::{
    Place, Token,
    model::{Asset, Release},
    request::{
        Answer, ApiError, Ask, BYTES, Body, JSON, MAX_ANSWER, broken, builder, client, encoded,
        location, next_page, once, parse, said, without_query,
    },
    retry::{self, Kind, Outcome, Verdict},
};
use crate::{
    config::github::{is_private, origin},
    ui::Ui,
};
use http::{Method, StatusCode, Uri, header::ETAG};
use hyper::body::Bytes;
use octocrab::Octocrab;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The most hosts that a request is sent on to.
const MAX_REDIRECTS: u32 = 3;

/// A client of the API.
pub struct Api {
    place: Place,
    token: Option<Token>,
    /// Sends the token to the API alone.
    client: Octocrab,
    /// Sends the token to the host of uploads, once a release has named it.
    uploads: Mutex<Option<(String, Octocrab)>>,
    /// Has no token.
    anonymous: Octocrab,
    ui: Ui,
}

/// A page of a list.
#[derive(Debug)]
pub enum Page<T> {
    /// It is as it was.
    Unchanged,
    /// What it has, its tag, and where the next one is.
    New(Vec<T>, Option<String>, Option<String>),
}

impl Api {
    /// Makes a client. It has to be made, and used, inside a tokio runtime.
    ///
    /// # Errors
    /// If the system's certificates cannot be read.
    pub fn new(place: Place, token: Option<Token>, ui: Ui) -> Result<Self, octocrab::Error> {
        let client = client(&place.api.origin(), token.as_ref())?;
        let anonymous = builder(&place.api.origin())?.build()?;
        Ok(Self { place, token, client, uploads: Mutex::default(), anonymous, ui })
    }

    /// Returns where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Returns whether there is a token.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Returns the URL of the first page of releases.
    pub fn releases_url(&self) -> String {
        self.url("releases?per_page=100")
    }

    /// Returns all releases, drafts too if the token may see them.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn releases(&self) -> Result<Vec<Release>, ApiError> {
        self.all(self.releases_url()).await
    }

    /// Returns a release as it is now; `None` if it is gone. The list of all lags
    /// behind what was just changed.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn release(&self, id: u64) -> Result<Option<Release>, ApiError> {
        self.found(self.url(&format!("releases/{id}"))).await
    }

    /// Returns all assets of a release.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn assets(&self, release: u64) -> Result<Vec<Asset>, ApiError> {
        self.all(self.url(&format!("releases/{release}/assets?per_page=100"))).await
    }

    /// Returns the commit that a tag points at; `None` if there is no such tag.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn commit_of_tag(&self, tag: &str) -> Result<Option<String>, ApiError> {
        let url = self.url(&format!("commits/tags/{}", encoded(tag)));
        let mut ask = Ask::get(url);
        ask.accept = "application/vnd.github.sha";
        match self.call(&self.client, ask).await {
            Ok(answer) => Ok(Some(String::from_utf8_lossy(&answer.body).trim().to_owned())),
            // An empty repository answers 409.
            Err(error) if matches!(error.status(), Some(404 | 409 | 422)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns a page of releases, unless it is the one with this tag still.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn page<T: DeserializeOwned>(
        &self,
        url: &str,
        etag: Option<&str>,
    ) -> Result<Page<T>, ApiError> {
        let mut ask = Ask::get(url.to_owned());
        ask.etag = etag.map(str::to_owned);
        let what = ask.what();
        let answer = self.call(&self.client, ask).await?;
        if answer.status == StatusCode::NOT_MODIFIED {
            return Ok(Page::Unchanged);
        }
        let etag = answer.headers.get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let next = next_page(&answer.headers);
        // A page elsewhere would be asked with our token.
        if let Some(next) = &next
            && !next.starts_with(&format!("{}/", self.place.api.origin()))
        {
            let reason = format!("the next page is on another host: {next}");
            return Err(ApiError::Garbled { what, reason });
        }
        Ok(Page::New(parse(&what, &answer.body)?, etag, next))
    }

    async fn all<T: DeserializeOwned>(&self, url: String) -> Result<Vec<T>, ApiError> {
        let (mut all, mut url) = (Vec::new(), Some(url));
        while let Some(page) = url {
            let Page::New(items, _, next) = self.page(&page, None).await? else { break };
            all.extend(items);
            url = next;
        }
        Ok(all)
    }

    /// Makes a release.
    ///
    /// # Errors
    /// [`ApiError`]; it may have been made all the same.
    pub async fn create(&self, release: &impl Serialize) -> Result<Release, ApiError> {
        self.json(Method::POST, self.url("releases"), release, Kind::Once).await
    }

    /// Changes a release.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn update(&self, id: u64, change: &impl Serialize) -> Result<Release, ApiError> {
        let url = self.url(&format!("releases/{id}"));
        self.json(Method::PATCH, url, change, Kind::Repeatable).await
    }

    /// Deletes a release, if it is still there.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn delete_release(&self, id: u64) -> Result<(), ApiError> {
        self.delete(self.url(&format!("releases/{id}"))).await
    }

    /// Deletes an asset, if it is still there.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn delete_asset(&self, id: u64) -> Result<(), ApiError> {
        self.delete(self.asset_url(id)).await
    }

    /// Returns an asset as it is now; `None` if it is gone.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn asset(&self, id: u64) -> Result<Option<Asset>, ApiError> {
        self.found(self.asset_url(id)).await
    }

    /// Returns what is at a URL; `None` if nothing is.
    async fn found<T: DeserializeOwned>(&self, url: String) -> Result<Option<T>, ApiError> {
        let ask = Ask::get(url);
        let what = ask.what();
        match self.call(&self.client, ask).await {
            Ok(answer) => parse(&what, &answer.body).map(Some),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Uploads an asset to the host that the release names.
    ///
    /// # Errors
    /// [`ApiError`]; it may have been uploaded all the same, or in part.
    pub async fn upload(
        &self,
        release: &Release,
        name: &str,
        bytes: Bytes,
    ) -> Result<Asset, ApiError> {
        let url = release.upload_url.split('{').next().unwrap_or_default();
        let ask = Ask {
            method: Method::POST,
            uri: format!("{url}?name={}", encoded(name)),
            accept: JSON,
            etag: None,
            body: Body::Bytes(bytes),
            kind: Kind::Once,
            limit: MAX_ANSWER,
        };
        let host = self.sound_origin(&ask.uri)?;
        let what = ask.what();
        let client = self.uploads(host).map_err(|error| broken(&what, &error))?;
        parse(&what, &self.call(&client, ask).await?.body)
    }

    /// Returns the client of a host of uploads.
    fn uploads(&self, host: String) -> Result<Octocrab, octocrab::Error> {
        let mut known = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((origin, client)) if *origin == host => Ok(client.clone()),
            _ => {
                let client = client(&host, self.token.as_ref())?;
                *known = Some((host, client.clone()));
                Ok(client)
            }
        }
    }

    /// Downloads an asset of at most `limit` bytes.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn download(&self, id: u64, limit: u64) -> Result<Bytes, ApiError> {
        let mut url = self.asset_url(id);
        for _ in 0..=MAX_REDIRECTS {
            let is_api = self.sound_origin(&url)? == self.place.api.origin();
            let mut ask = Ask::get(url);
            ask.accept = BYTES;
            ask.limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let what = ask.what();
            let client = if is_api { &self.client } else { &self.anonymous };
            let answer = self.call(client, ask).await?;
            if !answer.status.is_redirection() {
                return Ok(answer.body);
            }
            url = location(&answer.headers).ok_or_else(|| ApiError::Garbled {
                what,
                reason: "a redirect to nowhere".into(),
            })?;
        }
        Err(ApiError::Exposed(format!("{}: redirected without end", self.asset_url(id))))
    }

    fn url(&self, path: &str) -> String {
        format!("{}/repos/{}/{path}", self.place.api, self.place.repository)
    }

    fn asset_url(&self, id: u64) -> String {
        self.url(&format!("releases/assets/{id}"))
    }

    /// Returns scheme and host of a URL that may be asked.
    fn sound_origin(&self, url: &str) -> Result<String, ApiError> {
        let exposed = || ApiError::Exposed(without_query(url).to_owned());
        let url: Uri = url.parse().map_err(|_| exposed())?;
        // Whoever is sent from the network to this machine is being led astray.
        let is_sound =
            is_private(&url) && (url.scheme_str() == Some("https") || self.place.api.is_here());
        origin(&url).filter(|_| is_sound).ok_or_else(exposed)
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        uri: String,
        body: &impl Serialize,
        kind: Kind,
    ) -> Result<T, ApiError> {
        let body = Body::Json(serde_json::to_vec(body).unwrap_or_default());
        let ask = Ask { method, uri, accept: JSON, etag: None, body, kind, limit: MAX_ANSWER };
        let what = ask.what();
        parse(&what, &self.call(&self.client, ask).await?.body)
    }

    async fn delete(&self, uri: String) -> Result<(), ApiError> {
        let mut ask = Ask::get(uri);
        ask.method = Method::DELETE;
        match self.call(&self.client, ask).await {
            Err(error) if error.status() != Some(404) => Err(error),
            _ => Ok(()),
        }
    }

    /// Asks until there is an answer, as [`retry`] says.
    async fn call(&self, client: &Octocrab, ask: Ask) -> Result<Answer, ApiError> {
        let (what, mut waited) = (ask.what(), Duration::ZERO);
        for attempt in 0.. {
            let result = once(client, &ask).await;
            let (message, outcome);
            match &result {
                Err(_) => outcome = Outcome::Broken,
                Ok(answer) => {
                    let (status, headers) = (answer.status, &answer.headers);
                    message = said(&answer.body);
                    outcome = Outcome::Answer { status, headers, message: &message };
                }
            }
            let verdict = retry::decide(outcome, ask.kind, attempt, waited, now(), jitter());
            if let Verdict::Again(wait) = verdict {
                self.tell(&what, outcome, wait);
                tokio::time::sleep(wait).await;
                waited += wait;
                continue;
            }
            let answer = result?;
            let is_fine = answer.status.is_success()
                || answer.status == StatusCode::NOT_MODIFIED
                || (answer.status.is_redirection() && ask.accept == BYTES);
            if is_fine {
                return Ok(answer);
            }
            let mut message = said(&answer.body);
            if answer.status.is_redirection() {
                message = "the repository has moved: name it with `repository` in [github]".into();
            }
            let is_limit = retry::is_limit(answer.status, &answer.headers, &message);
            return Err(ApiError::Refused { what, status: answer.status, message, is_limit });
        }
        unreachable!("attempts are limited")
    }

    /// Says why nothing happens.
    fn tell(&self, what: &str, outcome: Outcome<'_>, wait: Duration) {
        let why = match outcome {
            Outcome::Broken => "no answer".into(),
            Outcome::Answer { status, .. } => status.to_string(),
        };
        self.ui.say(format_args!("{what}: {why}; trying again in {:.1} s", wait.as_secs_f64()));
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns a random number from 0 to 1.
pub(super) fn jitter() -> f64 {
    f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX)
}
