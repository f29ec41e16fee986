//! `sim serve`: a device on this machine that answers on the network.

use crate::{
    cli::Global,
    commands::push::TOKEN,
    config::Config,
    name::TargetName,
    project::{Places, Project},
    site::descriptor_path,
    ui::Hinted,
};
use anyhow::{Context, Result};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
};
use towline_app::rest::{MAX_CHANNELS, Name, Token};
use towline_host::{Channel, Settings, TokioClock};
use towline_sim::{Net, Scheme};

/// Let the device answer on the network: its page and its REST API.
///
/// It takes uploads of `cargo xtask push` and of its page, restarts, tests
/// itself and rolls back as a real one does. Changes need the token in the
/// variable TOWLINE_TOKEN; without it they are refused, as on a device whose
/// token was never set.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The flash file.
    #[arg(long, value_name = "FILE", default_value = "flash.bin")]
    flash: PathBuf,
    /// Port; 0 takes a free one.
    #[arg(long, default_value_t = 8081)]
    port: u16,
    /// Address to listen on. Anything but loopback lets others in.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Follow the channels of this target in towline.toml.
    #[arg(long, value_name = "NAME")]
    target: Option<TargetName>,
    /// The root that its firmware was built with, as `cargo xtask keys export`
    /// writes it [default: the newest of the project].
    #[arg(long, value_name = "FILE", requires = "target")]
    root: Option<PathBuf>,
    /// How the self-test of new firmware ends.
    #[arg(long, value_enum, default_value = "passes")]
    self_test: super::Test,
    /// The bootloader of the device.
    #[arg(long, value_enum, default_value = "stock")]
    bootloader: super::Bootloader,
    /// Connect to this address for updates whatever the host is, such as that
    /// of `cargo xtask serve --https`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    connect: Option<SocketAddr>,
    /// Trust the certificates in this PEM file too.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let ui = global.ui();
    let mut device = super::open(&args.flash)?;
    device.self_test = args.self_test.outcome();
    device.bootloader = args.bootloader.kind();
    let mut net = Net::new(Scheme::Https, args.ca.as_deref())?.rehearsed_at(args.connect);
    let (channels, root) = match &args.target {
        Some(target) => {
            let places = Places { store: None, site_dir: None };
            let project = Project::open(global.manifest.as_deref(), &places)?;
            let root = super::embedded_root(&project, args.root.as_deref())?;
            (channels(&project.config, target)?, root)
        }
        None => (Vec::new(), None),
    };
    let mut settings = Settings {
        token: token()?,
        channels,
        root,
        target: args.target.as_ref().map(|target| target.as_str().to_owned()),
        ..Settings::default()
    };
    if settings.token.is_none() {
        ui.say(format_args!("{TOKEN} is not set: the device refuses every change"));
    }
    let address = SocketAddr::new(args.address, args.port);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("listening on {address}"))?;
        println!("http://{}/", listener.local_addr()?);
        ui.say("Ctrl-C switches the device off");
        let booted = |started: &towline_sim::Started<'_>| {
            let (booted, guard) = (&started.booted, started.guards.last());
            let guard = guard.map(|guard| format!(" ({guard})")).unwrap_or_default();
            ui.say(format_args!("runs {} from {}{guard}", booted.head.app.version, booted.slot));
        };
        let clock = TokioClock::new();
        match towline_host::run(&mut device, &mut net, &mut settings, clock, &listener, booted)
            .await
        {
            Err(error) => Err(error.into()),
        }
    })
}

fn token() -> Result<Option<Token>> {
    let Ok(text) = std::env::var(TOKEN) else { return Ok(None) };
    let token = Token::new(text.trim());
    let token = token
        .map_err(|error| Hinted::new(error.to_string(), format!("set {TOKEN} to a longer one")));
    Ok(Some(token?))
}

/// Returns the channels of a target, as its firmware would know them.
fn channels(config: &Config, target: &TargetName) -> Result<Vec<Channel>> {
    let channels = config.channels.keys().take(MAX_CHANNELS).map(|name| {
        let url = format!("{}{}", config.base_url, descriptor_path(name, target));
        let name = Name::try_from(name.as_str()).map_err(|_| {
            Hinted::new(
                format!("the name of the channel `{name}` is too long for a device"),
                "give it 32 characters at most",
            )
        });
        Ok(Channel { name: name?, url })
    });
    channels.collect()
}
