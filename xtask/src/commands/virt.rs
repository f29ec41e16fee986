//! `virt`: updates on an emulated RISC-V machine.

mod attacks;
mod figures;
mod signer;
mod trust;

use crate::{
    cli::{self, Cli, Global},
    config::Config,
    image::{self, Images, Tables},
    name::TargetName,
    project::{Places, Project},
    serve::{Identity, Server},
    toolchain,
    ui::{Hinted, Ui, table},
    virt::{self, End, HOST_ADDRESS, Machine},
};
use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command as Process, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Let an emulated machine follow a channel: real instructions, real TLS.
///
/// The app of firmware/virt and its boot stage are built from source, releases
/// of it are published to target/virt and served over HTTPS on this machine,
/// and a RISC-V machine in QEMU follows their channel: with the update client,
/// the TLS and the network stack that run on chips.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Build the boot stage and three versions of the app.
    Build,
    /// Start a device with the first release, and nothing new to install.
    Run,
    /// Let a device go from the first release to the second, and back from the
    /// third, whose self-test fails.
    Update,
    Powercut(Powercut),
    /// Show whom a device trusts: hosts with every fault that a certificate can
    /// have, and chains as hosts really send them.
    Trust,
    /// Attack signed channels: with documents, keys, roots and images that are
    /// none, old, or of others.
    Attacks,
    /// Measure memory, stack and instructions of an update and of verifying its
    /// descriptor.
    Figures,
}

/// Cut the power of updates at random moments: the device always boots and
/// always ends up with the new release.
#[derive(Debug, clap::Args)]
struct Powercut {
    /// How often the power is cut.
    #[arg(long, default_value_t = 20)]
    cuts: u32,
    /// Where the random moments start from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let places = Places { store: None, site_dir: None };
    let project = Project::open(global.manifest.as_deref(), &places)?;
    let root = project.config.root.canonicalize()?;
    let ui = global.ui();
    require_own(&root)?;
    if !matches!(args.command, Command::Build) {
        virt::require_emulator()?;
    }
    let programs = Programs::build(&root, ui)?;
    match &args.command {
        Command::Build => {
            for path in [&programs.boot, &programs.first, &programs.second, &programs.broken] {
                println!("{}", path.display());
            }
        }
        Command::Run => {
            let bench = Bench::new(&programs, &root, Scheme::Https)?;
            bench.release(&programs.first)?;
            bench.provision(&programs.first)?;
            bench.expect(ui, &["app: stays"])?;
        }
        Command::Update => update(&programs, &root, ui)?,
        Command::Powercut(args) => powercut(&programs, &root, args, ui)?,
        Command::Trust => trust::run(&programs, &root, ui)?,
        Command::Attacks => attacks::run(&programs, &root, ui)?,
        Command::Figures => figures::run(&programs, &root, ui)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// That of the ESP32-C6, which the images say they are for.
const TRIPLE: &str = "riscv32imac-unknown-none-elf";
/// That of the smallest chips.
const SMALLEST: &str = "riscv32imc-unknown-none-elf";
const NAME: &str = "towline-virt";
/// The host that releases are published under. Nothing resolves it but the
/// device, which is told its address.
const HOST: &str = "site.towline.test";
const VERSIONS: [&str; 3] = ["1.0.0", "1.1.0", "1.2.0"];
/// Longest time of a run; an update takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(180);

/// What is built from source.
struct Programs {
    boot: PathBuf,
    first: PathBuf,
    second: PathBuf,
    /// Its self-test fails.
    broken: PathBuf,
}

impl Programs {
    fn build(root: &Path, ui: Ui) -> Result<Self> {
        let firmware = root.join("firmware");
        require_target(TRIPLE, &firmware)?;
        let build = |program, name, env: &[_], features: &str| {
            let arguments = ["--target", TRIPLE, "--features", features];
            compile(root, program, name, env, &arguments, ui)
        };
        let version = |version| ("TOWLINE_VIRT_VERSION", version);
        let [first, second, third] = VERSIONS;
        let broken = ("TOWLINE_VIRT_SELF_TEST", "fail");
        Ok(Self {
            boot: build("boot", "boot", &[], "boot")?,
            first: build(NAME, first, &[version(first)], "")?,
            second: build(NAME, second, &[version(second)], "")?,
            broken: build(NAME, third, &[version(third), broken], "")?,
        })
    }
}

/// Refuses other repositories: what runs on the machine is built from this one.
fn require_own(root: &Path) -> Result<(), Hinted> {
    if root.join("firmware/virt").is_dir() {
        return Ok(());
    }
    Err(Hinted::new(
        "`virt` runs the firmware of the repository of Towline itself",
        "in a project of your own: `cargo xtask sim`",
    ))
}

fn require_target(triple: &str, firmware: &Path) -> Result<(), Hinted> {
    if toolchain::has_target(triple, firmware) {
        return Ok(());
    }
    let command = toolchain::install_command(triple).join(" ");
    Err(Hinted::new(
        format!("the Rust target {triple} is not installed"),
        format!("install it with `{command}`"),
    ))
}

/// Builds a program and keeps its ELF file under a name.
fn compile(
    root: &Path,
    program: &str,
    name: &str,
    env: &[(&str, &str)],
    arguments: &[&str],
    ui: Ui,
) -> Result<PathBuf> {
    ui.say(format_args!("building {program} {name}"));
    let target_dir = root.join("target/virt/build");
    let output = Process::new("cargo")
        .args(["build", "--release", "--locked", "--package", NAME, "--bin", program])
        .args(arguments)
        .arg("--target-dir")
        .arg(&target_dir)
        .current_dir(root.join("firmware"))
        .env_remove("CARGO")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("SOURCE_DATE_EPOCH")
        .env_remove("TOWLINE_CA")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let message = format!("{program} {name} was not built ({})\n{log}", output.status);
        return Err(Hinted::new(
            message,
            "mbedtls needs a C compiler: `apt-get install clang cmake ninja-build libclang-dev`",
        )
        .into());
    }
    let programs = root.join("target/virt/programs");
    fs::create_dir_all(&programs)?;
    let triple = if arguments.contains(&SMALLEST) { SMALLEST } else { TRIPLE };
    let built = target_dir.join(triple).join("release").join(program);
    let kept = programs.join(format!("{program}-{name}.elf"));
    fs::copy(&built, &kept).with_context(|| built.display().to_string())?;
    Ok(kept)
}

/// Whether the site is served over TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Https,
    /// To measure without TLS.
    Http,
}

/// Serves the site of a bench, and returns the port.
fn serve(dir: &Path, identity: Option<&Identity>) -> Result<u16> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Server::bind(address, &dir.join("dist/site"), "/", identity)?;
    let port = server.address()?.port();
    thread::spawn(move || server.run(|_| {}));
    Ok(port)
}

/// Returns what the device is told: its channel, and the authority to trust.
fn told(port: u16, authority: &str) -> Result<String> {
    let authority = CertificateDer::from_pem_slice(authority.as_bytes())
        .context("the authority that was made is no certificate")?;
    let authority: String = authority.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!(
        "url=https://{HOST}:{port}/ota/stable/virt.json\n\
         hosts={HOST}={HOST_ADDRESS}\n\
         ca={authority}\n"
    ))
}

/// A project that publishes the app, the server of its site, and a device.
struct Bench {
    dir: PathBuf,
    machine: Machine,
}

const PARTITIONS: &str = "\
nvs,       data, nvs,   0x9000,   0x4000
otadata,   data, ota,   0xd000,   0x2000
phy_init,  data, phy,   0xf000,   0x1000
ota_0,     app,  ota_0, 0x10000,  0x1d0000
ota_1,     app,  ota_1, 0x1e0000, 0x1d0000
towline,   data, undefined, 0x3b0000, 0x2000
";

impl Bench {
    /// Starts from nothing: an empty site, which is served already.
    fn new(programs: &Programs, root: &Path, scheme: Scheme) -> Result<Self> {
        let dir = root.join("target/virt/bench");
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context(dir.display().to_string());
            }
            _ => fs::create_dir_all(dir.join("dist/site"))?,
        }
        let identity = Identity::new(&[HOST.into()])?;
        let served = (scheme == Scheme::Https).then_some(&identity);
        let port = serve(&dir, served)?;
        fs::write(dir.join("partitions.csv"), PARTITIONS)?;
        let config = format!(
            "project = \"{NAME}\"\n\
             base-url = \"https://{HOST}:{port}/\"\n\
             [defaults]\n\
             partition-table = \"partitions.csv\"\n\
             flash-size = \"8MB\"\n\
             [targets.virt]\n\
             chip = \"esp32c6\"\n\
             build.prebuilt = \"app.elf\"\n"
        );
        fs::write(dir.join("towline.toml"), config)?;
        let settings = dir.join("settings");
        fs::write(&settings, told(port, &identity.authority)?)?;
        let machine = Machine {
            boot: programs.boot.clone(),
            flash: dir.join("flash.img"),
            settings,
            counts_instructions: false,
        };
        Ok(Self { dir, machine })
    }

    /// Says what the site offers beside images, in the words of towline.toml.
    fn offer(&self, patches: &str) -> Result<()> {
        let path = self.dir.join("towline.toml");
        let config = fs::read_to_string(&path)?;
        Ok(fs::write(path, format!("{config}[patches]\n{patches}\n"))?)
    }

    /// Publishes a release with `cargo xtask release`.
    fn release(&self, elf: &Path) -> Result<()> {
        fs::copy(elf, self.dir.join("app.elf"))?;
        let manifest = self.dir.join("towline.toml");
        let manifest = manifest.to_str().context("the path of the repository is not UTF-8")?;
        let cli = Cli::try_parse_from(["xtask", "--quiet", "--manifest", manifest, "release"])?;
        let code = cli::run(cli)?;
        ensure!(code == ExitCode::SUCCESS, "the release failed");
        Ok(())
    }

    /// Makes the images of a program as `release` does.
    fn images(&self, elf: &Path) -> Result<Images> {
        let config = Config::read(&self.dir.join("towline.toml"))?;
        let target: TargetName = "virt".parse().expect("a name");
        Ok(image::make(&config.project, &config.targets[&target], elf, &Tables::default())?)
    }

    /// Flashes a new device.
    fn provision(&self, elf: &Path) -> Result<()> {
        let factory = self.images(elf)?.factory().context("there is a partition table")?;
        Ok(self.machine.flash(&factory)?)
    }

    /// Runs the device to its end, and returns what it said.
    fn finish(&self, ui: Ui) -> Result<Vec<String>> {
        let mut console = Vec::new();
        let end = self.machine.run(PATIENCE, |line| {
            ui.say(format_args!("  {line}"));
            console.push(line.to_owned());
        })?;
        match end {
            End::Finished => Ok(console),
            End::Failed => bail!("the device failed:\n{}", console.join("\n")),
            End::Cut => bail!(
                "the device did nothing for {} s after:\n{}",
                PATIENCE.as_secs(),
                console.join("\n")
            ),
        }
    }

    /// Runs the device to its end. It has to say these things, in this order.
    fn expect(&self, ui: Ui, steps: &[&str]) -> Result<Vec<String>> {
        let console = self.finish(ui)?;
        let mut lines = console.iter();
        for step in steps {
            ensure!(
                lines.any(|line| line.contains(step)),
                "the device never said `{step}`:\n{}",
                console.join("\n")
            );
        }
        Ok(console)
    }
}

/// From the first release to the second, and back from the third.
fn update(programs: &Programs, root: &Path, ui: Ui) -> Result<()> {
    let start = Instant::now();
    let bench = Bench::new(programs, root, Scheme::Https)?;
    let [first, second, third] = VERSIONS;
    bench.release(&programs.first)?;
    bench.provision(&programs.first)?;
    ui.say(format_args!("a new device, release {first}"));
    bench.expect(ui, &[&format!("{NAME} {first} runs from ota_0"), "app: stays"])?;
    bench.release(&programs.second)?;
    ui.say(format_args!("release {second} is out"));
    bench.expect(
        ui,
        &[
            &format!("{NAME} {first} runs from ota_0"),
            "(patch)",
            &format!("installed {second} in ota_1"),
            &format!("{NAME} {second} runs from ota_1"),
            "self-test: passed",
            "app: stays",
        ],
    )?;
    bench.release(&programs.broken)?;
    ui.say(format_args!("release {third} is out, and its self-test fails"));
    bench.expect(
        ui,
        &[
            &format!("{NAME} {second} runs from ota_1"),
            "(patch)",
            &format!("installed {third} in ota_0"),
            &format!("{NAME} {third} runs from ota_0"),
            "self-test: failed",
            &format!("{NAME} {second} runs from ota_1"),
            "app: stays",
        ],
    )?;
    println!(
        "{first} -> {second} accepted, {second} -> {third} rolled back, in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Numbers that look random (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Cuts the power of updates.
fn powercut(programs: &Programs, root: &Path, args: &Powercut, ui: Ui) -> Result<()> {
    let bench = Bench::new(programs, root, Scheme::Https)?;
    let [first, second, _] = VERSIONS;
    bench.release(&programs.first)?;
    bench.release(&programs.second)?;
    let factory = bench.images(&programs.first)?.factory().context("there is a partition table")?;
    // How long an update takes when nothing happens.
    bench.machine.flash(&factory)?;
    let start = Instant::now();
    let done = format!("{NAME} {second} runs from ota_1");
    bench.expect(ui, &[&done, "self-test: passed", "app: stays"])?;
    let time = start.elapsed();
    ui.say(format_args!("an update takes {:.2} s", time.as_secs_f64()));

    let mut random = Random(args.seed);
    let (mut cuts, mut devices) = (0, 0);
    // The last thing that the device said before each cut, and how often.
    let mut moments: std::collections::BTreeMap<String, u32> = std::collections::BTreeMap::new();
    while cuts < args.cuts {
        devices += 1;
        bench.machine.flash(&factory)?;
        // Several in a row, so that what comes after a cut is cut too.
        for _ in 0..=random.below(3) {
            if cuts == args.cuts {
                break;
            }
            let at = Duration::from_micros(random.below(time.as_micros() as u64));
            let mut last = String::from("(nothing yet)");
            let end = bench.machine.run(at, |line| last = line.to_owned())?;
            match end {
                End::Cut => {
                    cuts += 1;
                    let digits = |c: char| c.is_ascii_digit();
                    let moment = match last.split_once(": ") {
                        Some(("download", _)) => "download".to_owned(),
                        _ => last.trim_end_matches(digits).to_owned(),
                    };
                    *moments.entry(moment).or_default() += 1;
                }
                End::Finished => break,
                End::Failed => {
                    bail!("after {cuts} cuts (seed {}), device {devices} failed: {last}", args.seed)
                }
            }
        }
        let console = bench
            .finish(Ui::new(true))
            .with_context(|| format!("after {cuts} cuts (seed {}), device {devices}", args.seed))?;
        let ran = console.iter().rfind(|line| line.contains(" runs from "));
        ensure!(
            ran.is_some_and(|line| line.contains(&format!("{NAME} {second} "))),
            "after {cuts} cuts (seed {}), device {devices} did not get from {first} to {second}:\n{}",
            args.seed,
            console.join("\n")
        );
        ui.say(format_args!("{cuts} cuts, {devices} devices"));
    }
    let mut rows = vec![["CUTS", "LAST SAID BEFORE"].map(String::from)];
    rows.extend(moments.into_iter().map(|(moment, count)| [count.to_string(), moment]));
    println!("{}\n{cuts} power cuts, {devices} devices, 0 failures", table(&rows));
    Ok(())
}
