//! Where a site is that is checked: a folder, or a URL.

use super::{super::sim::embedded_root, Args};
use crate::{
    check::{
        Finding, Findings, Folder, Remote, Terms, UpdatePath, base_url, check_against, inspect,
        simulate,
    },
    project::Project,
    serve::{Identity, Server},
    ui::{Hinted, Ui},
};
use anyhow::Result;
use indicatif::ProgressBar;
use rayon::ThreadPoolBuilder;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
};
use towline_descriptor::Url;
use towline_sim::{Net, Scheme};

/// The most connections at once.
const CONNECTIONS: usize = 8;

/// Where a site is.
pub(super) enum Place {
    Folder(Folder),
    Remote(Box<Remote>),
}

impl Place {
    pub(super) fn new(name: &str, args: &Args, bar: &ProgressBar) -> Result<Self> {
        Ok(if name.contains("://") {
            let cache = cache(name, args);
            let remote = Remote::new(name, args.ca.as_deref())?
                .rehearsed_at(args.connect)
                .cached_in(cache.as_deref())
                .offline(args.offline)
                .shown_by(bar.clone());
            Self::Remote(Box::new(remote))
        } else {
            Self::Folder(Folder::new(Path::new(name)))
        })
    }

    pub(super) fn inspect(&self, terms: &Terms<'_>) -> Result<Findings> {
        Ok(match self {
            Self::Folder(folder) => inspect(folder, terms),
            Self::Remote(remote) => {
                let threads = ThreadPoolBuilder::new().num_threads(CONNECTIONS).build()?;
                threads.install(|| inspect(&**remote, terms))
            }
        })
    }

    /// Returns the URL that the site says it is served at.
    pub(super) fn base_url(&self) -> Option<String> {
        match self {
            Self::Folder(folder) => base_url(folder),
            Self::Remote(remote) => base_url(&**remote),
        }
    }

    pub(super) fn against(&self, published: &Self) -> Vec<Finding> {
        match (self, published) {
            (Self::Folder(a), Self::Folder(b)) => check_against(a, b),
            (Self::Folder(a), Self::Remote(b)) => check_against(a, &**b),
            (Self::Remote(a), Self::Folder(b)) => check_against(&**a, b),
            (Self::Remote(a), Self::Remote(b)) => check_against(&**a, &**b),
        }
    }

    /// Lets devices follow their paths.
    pub(super) fn simulate(
        &self,
        paths: &[UpdatePath],
        project: Option<&Project>,
        args: &Args,
        ui: Ui,
    ) -> Result<Vec<Finding>> {
        // Without an index there are no paths.
        let Some(base_url) = self.base_url() else { return Ok(Vec::new()) };
        let root = project.map(|project| embedded_root(project, None)).transpose()?.flatten();
        let bar = ui.steps(paths.len() as u64, "simulating");
        let simulated = match self {
            Self::Folder(folder) => {
                let mut net = served(folder.root(), &base_url)?;
                simulate(folder, paths, &mut net, root.as_ref(), || bar.inc(1))
            }
            Self::Remote(remote) => {
                let is_there = args.site.as_ref().is_some_and(|site| {
                    base_url.trim_end_matches('/') == site.trim_end_matches('/')
                });
                if !is_there && args.connect.is_none() {
                    let message = format!("devices of this site poll {base_url}");
                    let hint = "name that URL, or say with --connect where to connect instead";
                    return Err(Hinted::new(message, hint).into());
                }
                let net = Net::new(Scheme::Https, args.ca.as_deref())?;
                let mut net = net.rehearsed_at(args.connect);
                simulate(&**remote, paths, &mut net, root.as_ref(), || bar.inc(1))
            }
        };
        bar.finish_and_clear();
        ui.say(format_args!("simulated {} of {} devices", simulated.devices, paths.len()));
        Ok(simulated.findings)
    }
}

/// Serves a folder on this machine as its host will, and returns the way there.
fn served(root: &Path, base_url: &str) -> Result<Net> {
    let url = Url::parse(base_url)?;
    let identity = Identity::new(&[url.host().to_owned()])?;
    let ca = tempfile::NamedTempFile::new()?;
    fs::write(ca.path(), &identity.authority)?;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(any, root, url.path(), Some(&identity))?;
    let address = server.address()?;
    // As long as this program runs.
    thread::spawn(move || server.run(|_| {}));
    Ok(Net::new(Scheme::Https, Some(ca.path()))?.rehearsed_at(Some(address)))
}

/// Returns where to keep what is fetched. What this machine answers, or who is trusted by
/// `--ca` alone, is only kept where the user says.
fn cache(name: &str, args: &Args) -> Option<PathBuf> {
    let is_public = args.connect.is_none() && args.ca.is_none() && name.starts_with("https://");
    if args.cache.is_some() || args.no_cache || !is_public {
        return args.cache.clone();
    }
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let folder = named.filter(|cache| cache.is_absolute());
    let folder = folder.or_else(|| Some(std::env::home_dir()?.join(".cache")));
    folder.map(|folder| folder.join("towline/check"))
}
