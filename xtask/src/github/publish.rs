//! Brings a release to GitHub.
//!
//! Look, plan, act, and look again, until nothing is left to do. A run that was
//! killed at any request, or whose answers got lost, is completed by the next one:
//! what counts is what GitHub has, never what a run believes to have done.

use super::{
    api::{Api, jitter},
    local::Local,
    model::{Asset, Release},
    plan::{Call, File, Found, Goal, Plan, PlanError, Stage, plan},
    request::ApiError,
    retry,
};
use crate::{
    store::{StoreError, sha256},
    ui::Ui,
};
use futures_util::{StreamExt, stream};
use hyper::body::Bytes;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Uploads and downloads at a time.
pub(super) const AT_ONCE: usize = 4;

/// The most rounds that may go wrong in a row.
const FAILURES: u32 = 6;

/// The most rounds of a run.
const ROUNDS: u32 = 40;

/// Why a release could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A request failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// There is no such repository, or nothing may be written there.
    #[error(transparent)]
    Denied(ApiError),
    /// What is there contradicts the release.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The release is not whole here.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tag is another commit's.
    #[error("tag {tag} on GitHub is commit {found}, the release was built from {built}")]
    Tag {
        /// The tag.
        tag: String,
        /// Its commit.
        found: String,
        /// The commit of the record.
        built: String,
    },
    /// An upload arrived changed.
    #[error("{name} arrived at GitHub as something else: {what}")]
    Arrived {
        /// The file.
        name: String,
        /// What it arrived as.
        what: String,
    },
    /// Something else keeps changing the release.
    #[error("{0} changes on GitHub all the time: is another run or a person at it?")]
    Unsettled(String),
}

/// What a run did.
#[derive(Debug)]
pub struct Done {
    /// The release as it is now.
    pub release: Release,
    /// The calls that were made.
    pub calls: Vec<Call>,
}

/// Refuses a tag that is not the release's source. `Ok(false)` if there is no such
/// tag yet.
///
/// # Errors
/// [`PublishError::Tag`], or if GitHub does not tell.
pub async fn check_tag(api: &Api, goal: &Goal) -> Result<bool, PublishError> {
    let Some(found) = api.commit_of_tag(&goal.tag).await? else { return Ok(false) };
    match &goal.commit {
        Some(built) if *built != found => {
            Err(PublishError::Tag { tag: goal.tag.clone(), found, built: built.clone() })
        }
        _ => Ok(true),
    }
}

/// Looks at GitHub and plans, without changing anything.
///
/// # Errors
/// [`PublishError`].
pub async fn preview(api: &Api, goal: &Goal) -> Result<Plan, PublishError> {
    Ok(plan(goal, &look(api, goal, &Seen::default()).await?)?)
}

/// Publishes a release.
///
/// # Errors
/// [`PublishError`].
pub async fn publish(api: &Api, local: &Local<'_>, ui: Ui) -> Result<Done, PublishError> {
    let goal = &local.goal;
    let (mut seen, mut calls, mut failures) = (Seen::default(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let result = async {
            let found = look(api, goal, &seen).await?;
            let plan = plan(goal, &found)?;
            if let (Some(release), true) = (&plan.release, plan.calls.is_empty()) {
                return Ok(Some(release.clone()));
            }
            Round { api, local, ui }.act(&plan, &mut seen, &mut calls).await.map(|()| None)
        };
        match result.await {
            Ok(Some(release)) => return Ok(Done { release, calls }),
            Ok(None) => failures = 0,
            Err(PublishError::Api(error)) if error.is_passing() && failures < FAILURES => {
                let wait = retry::backoff(failures, jitter());
                ui.say(format_args!("{error}; looking again in {:.1} s", wait.as_secs_f64()));
                tokio::time::sleep(wait).await;
                failures += 1;
            }
            Err(error) => return Err(error),
        }
    }
    Err(PublishError::Unsettled(goal.tag.clone()))
}

/// What a run has learned that GitHub's lists may not tell yet.
#[derive(Default)]
struct Seen {
    /// Assets whose bytes are right.
    compared: BTreeSet<u64>,
    /// The draft that it made.
    made: Option<u64>,
}

/// Finds out what GitHub has of a release. Its list lags behind: each release of the
/// tag is asked for by itself, and so is the draft that this run made.
async fn look(api: &Api, goal: &Goal, seen: &Seen) -> Result<Found, PublishError> {
    let tags = &api.place().tags;
    let all = api.releases().await.map_err(PublishError::Denied)?;
    let (ours, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|release| release.tag_name == goal.tag);
    let highest = others
        .iter()
        .filter(|release| !release.draft && !release.prerelease)
        .filter_map(|release| tags.version(&release.tag_name))
        .max_by(towline_descriptor::Version::precedence);
    let ids: BTreeSet<_> = ours.iter().map(|release| release.id).chain(seen.made).collect();
    let mut releases = Vec::new();
    for id in ids {
        if let Some(mut release) = api.release(id).await? {
            release.assets = api.assets(id).await?;
            releases.push(release);
        }
    }
    Ok(Found { releases, highest, compared: seen.compared.clone() })
}

/// One pass over a plan.
struct Round<'a> {
    api: &'a Api,
    local: &'a Local<'a>,
    ui: Ui,
}

impl Round<'_> {
    /// Makes the calls of a plan, up to where GitHub has to be looked at again:
    /// after a draft was made, for another run may have made one too, and before
    /// it is published, for all of it has to be there.
    async fn act(
        &self,
        plan: &Plan,
        seen: &mut Seen,
        made: &mut Vec<Call>,
    ) -> Result<(), PublishError> {
        let Some(release) = &plan.release else {
            seen.made = Some(self.create().await?.id);
            made.extend(plan.calls.first().cloned());
            return Ok(());
        };
        if let [publish @ Call::Publish { prerelease, latest }] = &plan.calls[..] {
            self.publish(release, *prerelease, *latest).await?;
            made.push(publish.clone());
            return Ok(());
        }
        let mut uploads: BTreeMap<Stage, Vec<&File>> = BTreeMap::new();
        for call in &plan.calls {
            match call {
                Call::Compare { name, asset } => {
                    self.compare(self.local.file(name), *asset).await?;
                    seen.compared.insert(*asset);
                }
                Call::Carry { name, asset, size } => {
                    let bytes = self.api.download(*asset, *size).await?;
                    self.upload_bytes(release, name, bytes).await?;
                }
                Call::Discard { release } => self.discard(*release).await?,
                Call::Delete { asset, .. } => self.delete(*asset).await?,
                Call::Upload { name, .. } => {
                    let file = self.local.file(name);
                    uploads.entry(file.stage).or_default().push(file);
                    continue;
                }
                Call::Create { .. } | Call::Publish { .. } => continue,
            }
            made.push(call.clone());
        }
        let sizes = uploads.values().flatten().map(|file| u64::from(file.artifact.size));
        let bar = self.ui.bytes(sizes.sum());
        // In the order of the stages, each only if all before it is there.
        for files in uploads.into_values() {
            let mut failed = None;
            for (file, result) in self.upload_all(release, files, &bar).await {
                match result {
                    Ok(asset) => {
                        seen.compared.insert(asset.id);
                        let (name, size) = (file.name.clone(), file.artifact.size);
                        made.push(Call::Upload { name, size });
                    }
                    Err(error) => failed = Some(error),
                }
            }
            failed.map_or(Ok(()), Err)?;
        }
        bar.finish_and_clear();
        Ok(())
    }

    async fn create(&self) -> Result<Release, PublishError> {
        let goal = &self.local.goal;
        let mut release = json!({
            "tag_name": goal.tag,
            "name": goal.name,
            "body": goal.body,
            "draft": true,
            "prerelease": goal.prerelease,
        });
        self.name_commit(&mut release).await?;
        match self.api.create(&release).await {
            // Without the right to write there is no such place.
            Err(error) if error.status() == Some(404) => Err(PublishError::Denied(error)),
            result => Ok(result?),
        }
    }

    /// Names the commit that GitHub is to make the tag at, if there is no tag yet: a
    /// workflow's token may not name one whose workflows differ, even if it has a tag.
    async fn name_commit(&self, release: &mut Value) -> Result<(), PublishError> {
        let has_tag = check_tag(self.api, &self.local.goal).await?;
        if let (Some(commit), false) = (&self.local.goal.commit, has_tag) {
            release["target_commitish"] = commit.as_str().into();
        }
        Ok(())
    }

    /// Deletes a draft that is there twice, unless it has been published meanwhile.
    async fn discard(&self, release: u64) -> Result<(), PublishError> {
        if self.api.release(release).await?.is_some_and(|release| release.draft) {
            self.api.delete_release(release).await?;
        }
        Ok(())
    }

    async fn publish(
        &self,
        release: &Release,
        prerelease: bool,
        latest: bool,
    ) -> Result<(), PublishError> {
        let goal = &self.local.goal;
        let mut change = json!({
            "tag_name": goal.tag,
            "draft": false,
            "prerelease": prerelease,
            "make_latest": if latest { "true" } else { "false" },
        });
        self.name_commit(&mut change).await?;
        // What a person wrote into the draft stays.
        if release.body.as_deref().unwrap_or_default().trim().is_empty() {
            change["body"] = goal.body.as_str().into();
        }
        self.api.update(release.id, &change).await?;
        Ok(())
    }

    /// Deletes an upload that broke off, unless another run has completed it.
    async fn delete(&self, asset: u64) -> Result<(), PublishError> {
        if self.api.asset(asset).await?.is_none_or(|asset| !asset.is_complete()) {
            self.api.delete_asset(asset).await?;
        }
        Ok(())
    }

    async fn compare(&self, file: &File, asset: u64) -> Result<(), PublishError> {
        let bytes = self.api.download(asset, file.artifact.size.into()).await?;
        let found = sha256(&bytes);
        if found == file.artifact.sha256 {
            return Ok(());
        }
        let (tag, name) = (self.local.goal.tag.clone(), file.name.clone());
        let expected = file.artifact.sha256.to_string();
        Err(PlanError::OtherBytes { tag, name, found: found.to_string(), expected }.into())
    }

    /// Uploads these files, a few at a time. All are waited for: an upload that is
    /// dropped leaves a part of a file.
    async fn upload_all<'f>(
        &self,
        release: &Release,
        files: Vec<&'f File>,
        bar: &ProgressBar,
    ) -> Vec<(&'f File, Result<Asset, PublishError>)> {
        let upload = |file: &'f File| async move {
            let result = match self.local.bytes(file) {
                Ok(bytes) => self.upload_bytes(release, &file.name, bytes).await,
                Err(error) => Err(error.into()),
            };
            bar.inc(file.artifact.size.into());
            (file, result)
        };
        stream::iter(files.into_iter().map(upload)).buffer_unordered(AT_ONCE).collect().await
    }

    async fn upload_bytes(
        &self,
        release: &Release,
        name: &str,
        bytes: Bytes,
    ) -> Result<Asset, PublishError> {
        let (size, expected) = (bytes.len() as u64, sha256(&bytes));
        let asset = self.api.upload(release, name, bytes).await?;
        let hash = asset.sha256();
        let is_right = asset.name == name
            && asset.is_complete()
            && asset.size == size
            && hash.is_none_or(|hash| hash == expected);
        if is_right {
            return Ok(asset);
        }
        let hash = hash.map(|hash| format!(", SHA-256 {hash}")).unwrap_or_default();
        let what = format!("{}, {} bytes{hash}", asset.name, asset.size);
        Err(PublishError::Arrived { name: name.to_owned(), what })
    }
}
