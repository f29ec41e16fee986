//! An app that follows a channel: what a device's firmware does, and no more.
//!
//! ```text
//! guard -> network -> (on trial: self-test -> accept | roll back) -> poll -> install -> reset
//! ```
//!
//! It is told from outside ([`settings`]) which channel it follows (`url`), which
//! authority it trusts beside those of browsers (`ca`, DER in hexadecimal), and
//! which address a name has that no name server knows (`hosts`, `NAME=ADDRESS`).
//! With a root (`root`, its payload) it believes signed descriptors only, and
//! looks for later roots where it is told (`roots`). `user=asks` makes the poll
//! that of a user, `power=off` ends the emulator once an update is installed.
//! When there is nothing to install, it ends the emulator.
#![no_std]
#![no_main]
#![allow(unsafe_code, reason = "the entry point, the app descriptor and the one flash")]

extern crate alloc;

mod descriptor;
mod hosts;
#[cfg(feature = "plain")]
mod plain;

use alloc::{boxed::Box, vec::Vec};
use core::time::Duration;
use embassy_futures::{
    block_on,
    select::{Either, select},
};
use embassy_net::{
    Stack, StackResources,
    dns::DnsSocket,
    tcp::client::{TcpClient, TcpClientState},
};
use embassy_time::{Instant, Timer};
use hosts::Hosts;
use rand_core::TryRng;
use towline::{
    Buffers, Clock, Connect, Guard, Identity, LastPoll, Limits, Ota, Outcome, Trust, Updater,
    ota::check_slot, schedule::Jitter,
};
use towline_tls::{Anchor, Engine, clock};
use towline_virt::{
    log,
    machine::{
        entropy::Entropy,
        flash::Flash,
        heap,
        net::Card,
        power::{self, Exit},
        settings, time,
    },
};

/// Set to `fail` when building a version whose self-test is to fail.
const SELF_TEST: Option<&str> = option_env!("TOWLINE_VIRT_SELF_TEST");

/// Sockets: DHCP, DNS, the connection, and one that is being closed.
const SOCKETS: usize = 4;
const CONNECTIONS: usize = 2;
const TCP_BUFFER: usize = 4096;

/// A failure, for the log.
type Fault = Box<dyn core::error::Error>;

/// What comes next.
enum Next {
    /// The machine is reset.
    Reset,
    /// There is nothing to do until the next poll.
    Rest,
}

/// What the device is told from outside.
struct Settings {
    url: &'static str,
    authority: Option<Vec<u8>>,
    hosts: Option<&'static str>,
    trust: Option<Trust<'static>>,
    by_user: bool,
    power_off: bool,
    figures: bool,
}

struct Uptime;

impl Clock for Uptime {
    fn uptime(&self) -> Duration {
        Duration::from_micros(Instant::now().as_micros())
    }

    fn unix_time(&self) -> Option<u64> {
        clock::now()
    }

    async fn wait(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Timer::after_micros(micros).await;
    }
}

#[unsafe(no_mangle)]
extern "C" fn main(running: u32) -> ! {
    // SAFETY: the only one in this program.
    let flash = unsafe { Flash::take() };
    match block_on(run(flash, running)) {
        Ok(Next::Reset) => power::reset(),
        Ok(Next::Rest) => power::exit(Exit::Success),
        Err(error) => {
            log!("app: {error}");
            power::exit(Exit::Failure)
        }
    }
}

async fn run(flash: Flash, running: u32) -> Result<Next, Fault> {
    let mut ota = Ota::open(flash, running)?;
    let guard = ota.guard(power::reset_reason())?;
    log!(
        "app: {} {} runs from {}",
        ota.app().project_name.as_str(),
        ota.app().version.as_str(),
        ota.running()
    );
    let on_trial = match guard {
        Guard::Settled => false,
        Guard::Trial | Guard::Stranded => true,
        Guard::RolledBack { to } => {
            log!("guard: was not accepted; back to {to}");
            return Ok(Next::Reset);
        }
        Guard::DidNotBoot { slot } => {
            log!("guard: {slot} did not boot");
            false
        }
    };
    let settings = Settings {
        url: settings::text("url").ok_or("no setting `url`: start it with cargo xtask virt")?,
        authority: settings::text("ca").map(from_hex).transpose()?,
        hosts: settings::text("hosts"),
        trust: settings::text("root").zip(settings::text("roots")).map(|(root, roots)| Trust {
            root: root.as_bytes(),
            roots,
            verify: towline::ed25519,
        }),
        by_user: settings::text("user") == Some("asks"),
        power_off: settings::text("power") == Some("off"),
        figures: settings::text("figures").is_some(),
    };
    // As on a chip whose SNTP has not answered yet.
    if settings::text("clock") != Some("unset") {
        let set = clock::set(time::unix_time());
        set.map_err(|_| "the clock of the host is before this firmware was made")?;
    }
    let entropy = Box::leak(Box::new(Entropy::find().ok_or("no random number generator")?));
    let seed = entropy.try_next_u64()?;
    let engine = Engine::start(entropy).map_err(|_| "TLS was started before")?;
    let card = Card::find().ok_or("no network card")?;
    let resources = Box::leak(Box::new(StackResources::<SOCKETS>::new()));
    let config = embassy_net::Config::dhcpv4(Default::default());
    let (stack, mut runner) = embassy_net::new(card, config, resources, seed);
    let device = device(&mut ota, stack, &engine, &settings, on_trial, seed as u32);
    match select(runner.run(), device).await {
        Either::First(never) => never,
        Either::Second(result) => result,
    }
}

fn from_hex(text: &str) -> Result<Vec<u8>, Fault> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).ok_or("`ca` is not hexadecimal");
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return Err("`ca` has half a byte".into());
    };
    pairs.iter().map(|[high, low]| Ok((digit(high)? << 4 | digit(low)?) as u8)).collect()
}

/// What runs beside the network.
async fn device(
    ota: &mut Ota<Flash>,
    stack: Stack<'_>,
    engine: &Engine,
    settings: &Settings,
    on_trial: bool,
    seed: u32,
) -> Result<Next, Fault> {
    stack.wait_config_up().await;
    let tcp_state = Box::new(TcpClientState::<CONNECTIONS, TCP_BUFFER, TCP_BUFFER>::new());
    let tcp = TcpClient::new(stack, &tcp_state);
    let dns = Hosts::new(settings.hosts, DnsSocket::new(stack));
    let authority = settings.authority.as_deref().and_then(Anchor::from_certificate);
    let anchors: Vec<_> = authority.into_iter().collect();
    #[cfg(not(feature = "plain"))]
    let mut net = towline_tls::Connector::new(engine, &tcp, &dns).trusting(&anchors);
    #[cfg(feature = "plain")]
    let mut net = {
        let _ = (engine, anchors);
        plain::Connector::new(&tcp, &dns)
    };
    follow(ota, &mut net, settings, on_trial, seed).await
}

/// Tests this version if it is new, and polls the channel once.
async fn follow<N: Connect<Error: 'static>>(
    ota: &mut Ota<Flash>,
    net: &mut N,
    settings: &Settings,
    on_trial: bool,
    seed: u32,
) -> Result<Next, Fault> {
    let mut buffers = Box::new(Buffers::new());
    let mut updater = Updater {
        ota,
        net,
        clock: &Uptime,
        device: Identity {
            target: Some("virt"),
            channel: Some("stable"),
            id: b"virt",
            ..Identity::default()
        },
        trust: settings.trust,
        by_user: settings.by_user,
        limits: Limits::DEFAULT,
        jitter: &mut Jitter::new(seed),
        last: &mut LastPoll::default(),
        buffers: &mut buffers,
    };
    if on_trial {
        // What a new version has to be able to do is to get the next one.
        let check = updater.check(settings.url).await;
        if check.is_err() || SELF_TEST == Some("fail") {
            match check {
                Err(error) => log!("self-test: failed: {error:?}"),
                Ok(_) => log!("self-test: failed, as this version was built to"),
            }
            let to = updater.ota.rollback()?;
            log!("app: rolled back to {to}");
            return Ok(Next::Reset);
        }
        updater.ota.accept()?;
        log!("self-test: passed, accepted");
    }
    let in_use = heap::restart_peak();
    let base = heap::paint_stack();
    let mut decile = 0;
    let start = (time::instructions(), Instant::now());
    let update = updater.update(settings.url, |progress| {
        let done = u64::from(progress.received) * 10 / u64::from(progress.size);
        if done > decile {
            decile = done;
            log!("download: {} of {} bytes", progress.received, progress.size);
        }
    });
    let future = size_of_val(&update);
    let outcome = update.await;
    if settings.figures {
        log!("figures: instructions {}", time::instructions() - start.0);
        log!("figures: milliseconds {}", start.1.elapsed().as_millis());
        log!("figures: base {base}");
        log!("figures: stack {}", heap::stack_used());
        log!("figures: future {future}");
        log!(
            "figures: state {}",
            size_of::<Buffers>() + size_of::<Ota<Flash>>() + size_of::<LastPoll>()
        );
        log!("figures: heap {}", heap::peak() - in_use);
        if let Ok(Outcome::Installed { fetched, .. }) = &outcome {
            log!("figures: fetched {fetched}");
        }
        verification(updater.ota)?;
    }
    match outcome? {
        Outcome::Stay(reason) => {
            log!("app: stays: {reason}");
            Ok(Next::Rest)
        }
        Outcome::Installed { version, slot, form, fetched } => {
            log!("app: fetched {fetched} bytes ({form})");
            log!("app: installed {version} in {slot}");
            Ok(if settings.power_off { Next::Rest } else { Next::Reset })
        }
    }
}

/// Logs what the check of an image costs.
fn verification(ota: &mut Ota<Flash>) -> Result<(), Fault> {
    let region = ota.layout().region(ota.running()).ok_or("runs from no slot")?;
    // SAFETY: the other one is not used meanwhile, and no command is under way.
    let mut flash = unsafe { Flash::take() };
    let start = time::instructions();
    let size = check_slot(&mut flash, region)??.size;
    log!("figures: verification {} of {size}", time::instructions() - start);
    Ok(())
}
