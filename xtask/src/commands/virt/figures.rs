//! What an update and its verification cost.

use super::{
    Bench, NAME, Programs, SMALLEST, Scheme, TRIPLE, VERSIONS,
    attacks::{
        DESCRIPTOR, ROOT, ROOTS, STABLE, first_root, published, role, root as root_of, signed,
    },
    compile, require_target,
    signer::{Signer, envelope},
};
use crate::{
    ui::{Ui, table},
    virt::{End, Machine},
};
use anyhow::{Context, Result, bail, ensure};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};
use towline_descriptor::envelope::DESCRIPTOR_TYPE;

/// Most memory that the client may need, in bytes: 16 KiB for the update, 1 KiB
/// for the newest root, 4 KiB that patches work in, and 7 KiB of stack and future
/// for their state.
const CLIENT_LIMIT: u64 = 28 * 1024;

/// The same where it verifies signatures, and goes on to a newer root.
const TRUSTING_CLIENT_LIMIT: u64 = 33 * 1024;

/// What a site offers beside images.
const NOTHING: &str = "from = 0\ncompressed = false";
const COMPRESSED: &str = "from = 0";
const PATCHES: &str = "compressed = false";

/// Measures an update and its verification.
pub(super) fn run(programs: &Programs, root: &Path, ui: Ui) -> Result<()> {
    update(programs, root, ui)?;
    verification(root, ui)
}

/// Measures an update: over TLS, without, and without from a signed channel
/// whose root was renewed; then, without TLS, compressed and by a patch.
fn update(programs: &Programs, root: &Path, ui: Ui) -> Result<()> {
    let [first, second, _] = VERSIONS;
    let mut plain = Vec::new();
    for version in [first, second] {
        let env = [("TOWLINE_VIRT_VERSION", version)];
        let arguments = ["--target", TRIPLE, "--features", "plain"];
        plain.push(compile(root, NAME, &format!("{version}-plain"), &env, &arguments, ui)?);
    }
    let mut measured = Vec::new();
    for (scheme, old, new, trusts, offered) in [
        (Scheme::Https, &programs.first, &programs.second, false, NOTHING),
        (Scheme::Http, &plain[0], &plain[1], false, NOTHING),
        (Scheme::Http, &plain[0], &plain[1], true, NOTHING),
        (Scheme::Http, &plain[0], &plain[1], false, COMPRESSED),
        (Scheme::Http, &plain[0], &plain[1], false, PATCHES),
    ] {
        let mut bench = Bench::new(programs, root, scheme)?;
        let settings = fs::read_to_string(&bench.machine.settings)?;
        fs::write(&bench.machine.settings, settings + "figures=yes\n")?;
        bench.machine.counts_instructions = true;
        bench.offer(offered)?;
        bench.release(old)?;
        bench.release(new)?;
        if trusts {
            sign(&bench)?;
        }
        bench.provision(old)?;
        let console = bench.expect(ui, &["app: installed", "app: stays"])?;
        measured.push(console);
    }
    let figure = |run: usize, name: &str| figure(&measured[run], name);
    let columns = ["FIGURE", "WITH TLS", "WITHOUT", "SIGNED", "COMPRESSED", "PATCH"];
    let mut rows = vec![columns.map(String::from)];
    for (name, label) in [
        ("base", "stack when the update starts, bytes"),
        ("stack", "stack at its deepest, bytes"),
        ("future", "future of the update, part of it, bytes"),
        ("heap", "heap beyond the network's buffers, bytes"),
        ("instructions", "instructions of the update, waiting included"),
        ("milliseconds", "milliseconds at the emulator's pace"),
        ("fetched", "bytes fetched of the image"),
    ] {
        let of = |run| Ok::<_, anyhow::Error>(figure(run, name)?[0].to_string());
        rows.push([label.into(), of(0)?, of(1)?, of(2)?, of(3)?, of(4)?]);
    }
    println!("{}", table(&rows));
    for (run, what, limit) in [
        (1, "the client without TLS", CLIENT_LIMIT),
        (3, "the same where the image comes compressed", CLIENT_LIMIT),
        (4, "the same where it comes as a patch", CLIENT_LIMIT),
        (2, "the same with signatures and a newer root", TRUSTING_CLIENT_LIMIT),
    ] {
        let of = |name| Ok::<_, anyhow::Error>(figure(run, name)?[0]);
        let client = of("state")? + of("future")? + of("stack")? - of("base")?;
        println!(
            "{what}: {client} bytes of buffers, future and stack, what the network stack needs of \
             the latter included; at most {limit}"
        );
        ensure!(client <= limit, "the client needs more memory than it may");
    }
    let verification = figure(0, "verification")?;
    for (run, what) in [(3, "unpacking an image"), (4, "making an image of a patch")] {
        let [packed, plain] = [figure(run, "instructions")?[0], figure(1, "instructions")?[0]];
        println!(
            "{what}: {} instructions a byte more than what is fetched and written as it is",
            packed.saturating_sub(plain) / figure(run, "verification")?[1].max(1)
        );
    }
    ensure!(verification.len() == 2, "the device did not say how large its image is");
    println!(
        "verifying an image (SHA-256, structure, checksum, reading flash): {:.1} instructions a byte",
        verification[0] as f64 / verification[1] as f64
    );
    Ok(())
}

/// Makes a signed channel of the one that a bench serves, whose root is newer
/// than that of its device.
fn sign(bench: &Bench) -> Result<()> {
    let path = bench.dir.join(DESCRIPTOR);
    let mut payload: Value = serde_json::from_slice(&fs::read(&path)?)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    for (field, value) in [("seq", now), ("issued", now - 60), ("expires", now + 86_400)] {
        payload[field] = value.into();
    }
    fs::write(path, signed(&payload, &[STABLE]))?;
    let newer = root_of(2, role(1, &[ROOT]), role(1, &[STABLE]));
    let roots = bench.dir.join(ROOTS);
    fs::create_dir_all(&roots)?;
    fs::write(roots.join("2.json"), published(&newer, &[ROOT]))?;
    let settings = fs::read_to_string(&bench.machine.settings)?;
    let url = settings.lines().find_map(|line| line.strip_prefix("url="));
    let (base, _) = url.and_then(|url| url.split_once("ota/")).context("there is a URL")?;
    let settings = format!("{settings}root={}\nroots={base}root/\n", first_root());
    Ok(fs::write(&bench.machine.settings, settings)?)
}

/// Returns the numbers that a device said of something.
fn figure(console: &[String], name: &str) -> Result<Vec<u64>> {
    let prefix = format!("figures: {name} ");
    let line = console.iter().find_map(|line| line.strip_prefix(&prefix));
    let line = line.with_context(|| format!("the device did not say its {name}"))?;
    Ok(line.split(" of ").filter_map(|number| number.parse().ok()).collect())
}

/// Most that verifying the signature of a descriptor may take: instructions,
/// bytes of stack, bytes of code and tables.
const VERIFICATION_LIMITS: [u64; 3] = [5_000_000, 8 * 1024, 27 * 1024];

/// Most instructions and bytes of stack that it may take with reading the root
/// before, and the descriptor after.
const WHOLE_LIMITS: [u64; 2] = [5_500_000, 11 * 1024];

/// Measures the verification of a descriptor with the instructions of the
/// smallest chips.
fn verification(root: &Path, ui: Ui) -> Result<()> {
    require_target(SMALLEST, &root.join("firmware"))?;
    let build = |features: &str| {
        let arguments = ["--no-default-features", "--features", features, "--target", SMALLEST];
        compile(root, "verify", features, &[], &arguments, ui)
    };
    let (seeing, blind) = (build("verify")?, build("verify,blind")?);
    let dir = root.join("target/virt/verification");
    fs::create_dir_all(&dir)?;
    let descriptor = descriptor(&Signer::new(STABLE));
    let told = format!("root={}\ndescriptor={descriptor}\n", first_root());
    let machine = Machine {
        boot: seeing.clone(),
        flash: dir.join("flash.img"),
        settings: dir.join("settings"),
        counts_instructions: true,
    };
    machine.flash(&[])?;
    fs::write(&machine.settings, told)?;
    let mut console = Vec::new();
    let end = machine.run(Duration::from_secs(60), |line| {
        ui.say(format_args!("  {line}"));
        console.push(line.to_owned());
    })?;
    if end != End::Finished {
        bail!("the descriptor was not verified:\n{}", console.join("\n"));
    }
    let figure = |name| Ok::<_, anyhow::Error>(figure(&console, name)?[0]);
    let measured = [figure("instructions")?, figure("stack")?, loaded(&seeing)? - loaded(&blind)?];
    let whole = [figure("whole")?, figure("whole-stack")?];
    println!(
        "verifying the signature of a descriptor of {} bytes, on {SMALLEST}: {} instructions, \
         {} bytes of stack, {} bytes of code and tables; at most {:?}\n\
         with reading root and descriptor: {} instructions, {} bytes of stack; at most {:?}",
        descriptor.len(),
        measured[0],
        measured[1],
        measured[2],
        VERIFICATION_LIMITS,
        whole[0],
        whole[1],
        WHOLE_LIMITS,
    );
    let all = measured.iter().chain(&whole);
    ensure!(
        all.zip(VERIFICATION_LIMITS.iter().chain(&WHOLE_LIMITS))
            .all(|(value, limit)| value <= limit),
        "verifying takes more than it may"
    );
    Ok(())
}

/// Returns a signed descriptor with all that one may have.
fn descriptor(key: &Signer) -> String {
    let (version, path) =
        ("1.1.0", "https://site.towline.test/firmware/towline-virt/1.1.0/virt.bin");
    let digest = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
    let patch = json!({
        "from_sha256": digest, "alg": "none", "path": "from-1.0.0.patch", "size": 50_000,
        "sha256": digest,
    });
    let payload = json!({
        "fmt": 1, "project": NAME, "target": "virt", "chip": "esp32c6", "chip_id": 13,
        "channel": "stable", "version": version, "path": path, "size": 700_000, "sha256": digest,
        "secure_version": 0, "seq": 1_790_000_000, "issued": 1_790_000_000,
        "expires": 1_797_000_000, "min_from": "1.0.0", "rollout": { "percent": 25 },
        "policy": { "window": { "start": 60, "end": 300 }, "approval": true, "groups": ["beta"] },
        "patches": [patch, patch],
    });
    envelope(DESCRIPTOR_TYPE, payload.to_string().as_bytes(), &[key])
        .with("version", version)
        .with("path", path)
        .to_string()
}

/// Returns how many bytes of an ELF file are loaded.
fn loaded(elf: &Path) -> Result<u64> {
    let bytes = fs::read(elf).with_context(|| elf.display().to_string())?;
    let number = |at: usize, len: usize| {
        let bytes = bytes.get(at..at + len).context("the ELF file is cut short")?;
        Ok::<_, anyhow::Error>(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    // Program headers: where the first is, size of one, how many.
    let (start, size, count) = (number(28, 4)?, number(42, 2)?, number(44, 2)?);
    (0..count).map(|index| number((start + index * size) as usize + 16, 4)).sum()
}
