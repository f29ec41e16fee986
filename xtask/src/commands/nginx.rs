//! `nginx`: a configuration that serves the site.

use crate::{
    cli::Global,
    project::{Places, Project},
};
use anyhow::Result;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use std::{net::SocketAddr, path::PathBuf, process::ExitCode};
use towline_descriptor::Url;

const TEMPLATE: &str = include_str!("../../../templates/nginx/site.conf.j2");

/// Print a configuration of nginx that serves the site at its base URL.
///
/// Images and scripts, which have a hash in their name, are cached for ever;
/// what changes in place is asked for anew. Nothing that a device asks for is
/// redirected, and what is not there has status 404. Deployments are folders
/// beside a link that names the one that counts, so that they change at once;
/// the manual of self-hosting has the commands.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The link to the deployed site, on the host [default:
    /// /srv/<project>/site].
    #[arg(long, value_name = "LINK")]
    root: Option<PathBuf>,
    /// Certificate of the host and its chain, PEM [default: that of certbot in
    /// /etc/letsencrypt/live/<host>].
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Key of the certificate, PEM [default: that of certbot].
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Address to listen on [default: all of the host, with the port of the base
    /// URL].
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let places = Places { store: None, site_dir: None };
    let project = Project::open(global.manifest.as_deref(), &places)?;
    let config = &project.config;
    let url = Url::parse(&config.base_url)?;
    let listen = match args.listen {
        Some(address) => vec![address.to_string()],
        None => vec![url.port().to_string(), format!("[::]:{}", url.port())],
    };
    let certbot = |file: &str| format!("/etc/letsencrypt/live/{}/{file}", url.host());
    let given = |path: &Option<PathBuf>, default: String| {
        path.as_ref().map_or(default, |path| path.display().to_string())
    };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.add_filter("trim_end", |path: &str| path.trim_end_matches('/').to_owned());
    environment.add_template("nginx", TEMPLATE)?;
    let text = environment.get_template("nginx")?.render(context! {
        title => config.title.replace(char::is_control, " "),
        base_url => &config.base_url,
        word => config.project.as_str().replace(|c: char| !c.is_ascii_alphanumeric(), "_"),
        listen,
        host => url.host(),
        path => url.path(),
        root => given(&args.root, format!("/srv/{}/site", config.project)),
        certificate => given(&args.certificate, certbot("fullchain.pem")),
        key => given(&args.key, certbot("privkey.pem")),
    })?;
    println!("{text}");
    Ok(ExitCode::SUCCESS)
}
