//! `serve`: the site on this machine.

use crate::{
    cli::Global,
    demo::Demo,
    installer::Installer,
    project::{Places, Project},
    serve::{Identity, Server},
    ui::Hinted,
};
use anyhow::{Context, Result};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
};
use towline_descriptor::Url;

/// Serve the site on this machine, to try the page and devices.
///
/// The site is found at the top and below the path of its base URL. With
/// --https a certificate authority is made for this run; it vouches for
/// localhost and for the host of the base URL, so that devices can rehearse an
/// update. Its certificate is written to dist/serve-ca.pem, for `cargo xtask
/// check --ca`, `cargo xtask sim update --ca`, and devices on the bench. Its
/// key stays in memory.
///
/// With --demo the installer on the page talks to emulated boards instead of
/// the serial ports of this machine, so that it can be tried without hardware.
/// Only the page that is served has them; nothing of it is published. The panel
/// at the lower edge chooses the board and what goes wrong; `?demo-chip=esp32s3`
/// in the address names another board than an ESP32-C3.
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
    /// Put emulated boards behind the installer on the page.
    #[arg(long)]
    demo: bool,
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
    let project = Project::open(global.manifest.as_deref(), &places)?;
    let config = &project.config;
    let root = &project.site_dir;
    // Each board takes memory here, and a browser lets no page of another
    // machine use serial ports without HTTPS anyway.
    if args.demo && !args.address.is_loopback() {
        return Err(Hinted::new(
            format!("emulated boards are for this machine only, not for {}", args.address),
            "leave out --address, or --demo",
        )
        .into());
    }
    let ca = args.ca.clone().unwrap_or_else(|| config.root.join("dist/serve-ca.pem"));
    let url = Url::parse(&config.base_url)?;
    let identity = if args.https {
        let mut names = vec!["localhost".into(), args.address.to_string(), url.host().into()];
        names.extend(args.names.iter().cloned());
        let identity = Identity::new(&names)?;
        std::fs::write(&ca, &identity.authority).with_context(|| ca.display().to_string())?;
        Some(identity)
    } else {
        None
    };
    let mut server = Server::bind(
        SocketAddr::new(args.address, args.port),
        root,
        url.path(),
        identity.as_ref(),
    )?;
    if args.demo {
        server = server.with_demo(Demo::new(Installer::beside_program()?.built(ui)?.demo));
    }
    let scheme = if args.https { "https" } else { "http" };
    println!("{scheme}://{}/", server.address()?);
    if args.https {
        ui.say(format_args!("trust {} to reach it", ca.display()));
    }
    if args.demo {
        ui.say(
            "the page has an emulated ESP32-C3: install, set up Wi-Fi, pull its cable (its panel is \
             at the lower edge)",
        );
    }
    ui.say("Ctrl-C stops the server");
    server.run(move |line| ui.say(line))?;
    Ok(ExitCode::SUCCESS)
}
