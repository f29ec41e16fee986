//! `serve`: the site on this machine.

use crate::{
    cli::Global,
    project::{Places, Project},
    serve::{Identity, Server},
};
use anyhow::{Context, Result};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
};

/// Serve the site on this machine, to try the page and devices.
///
/// With --https a certificate authority is made for this run; its certificate
/// is written to dist/serve-ca.pem, for `cargo xtask check --ca`, `cargo xtask
/// sim update --ca`, and devices on the bench. Its key stays in memory.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the site [default: dist/site].
    #[arg(value_name = "DIR")]
    site: Option<PathBuf>,
    /// Port; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Address to listen on. Anything but loopback lets others in.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Serve HTTPS.
    #[arg(long)]
    https: bool,
    /// Further host names or addresses for the certificate.
    #[arg(long, value_delimiter = ',', value_name = "NAMES", requires = "https")]
    names: Vec<String>,
    /// Where the authority's certificate is written [default:
    /// dist/serve-ca.pem].
    #[arg(long, value_name = "FILE", requires = "https")]
    ca: Option<PathBuf>,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let ui = global.ui();
    let places = Places { store: None, site_dir: args.site.clone() };
    let (root, ca) = match (&args.site, &args.ca) {
        (Some(site), Some(ca)) => (site.clone(), ca.clone()),
        _ => {
            let project = Project::open(global.manifest.as_deref(), &places)?;
            let ca = args.ca.clone();
            (project.site_dir, ca.unwrap_or_else(|| project.config.root.join("dist/serve-ca.pem")))
        }
    };
    let identity = if args.https {
        let mut names = vec!["localhost".into(), args.address.to_string()];
        names.extend(args.names.iter().cloned());
        let identity = Identity::new(&names)?;
        std::fs::write(&ca, &identity.authority).with_context(|| ca.display().to_string())?;
        Some(identity)
    } else {
        None
    };
    let server = Server::bind(SocketAddr::new(args.address, args.port), &root, identity.as_ref())?;
    let scheme = if args.https { "https" } else { "http" };
    println!("{scheme}://{}/", server.address()?);
    if args.https {
        ui.say(format_args!("trust {} to reach it", ca.display()));
    }
    ui.say("Ctrl-C stops the server");
    server.run(move |line| ui.say(line))?;
    Ok(ExitCode::SUCCESS)
}
