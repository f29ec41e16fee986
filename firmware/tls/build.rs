//! Writes the authorities that the firmware trusts: those that browsers trust and
//! static hosts use, and those in the PEM file that the environment variable `TOWLINE_CA` names.

#[path = "src/anchor.rs"]
#[expect(unreachable_pub, reason = "public in the library, which has the same file")]
mod anchor;

use anchor::Anchor;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::exit,
};

/// The organisations whose root certificates are built in, where browsers trust
/// them: those that static hosts and content networks get their certificates
/// from. All 118 roots of browsers would be 54 KB of flash, these are 12 KB.
const HOSTS_ISSUERS: &[&str] = &[
    "Amazon",
    "Certainly",
    "DigiCert Inc",
    "DigiCert, Inc.",
    "GlobalSign",
    "GlobalSign nv-sa",
    "Google Trust Services LLC",
    "Internet Security Research Group",
    "Microsoft Corporation",
    "Sectigo Limited",
    "The USERTRUST Network",
];

/// Without `SOURCE_DATE_EPOCH`, no clock is believed that is before 2026.
const EARLIEST: &str = "1767225600";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=TOWLINE_CA");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let private = env::var_os("TOWLINE_CA").filter(|path| !path.is_empty());
    let private = private.map(|path| read_pem(Path::new(&path))).unwrap_or_default();
    let public = match env::var_os("CARGO_FEATURE_PUBLIC_ROOTS") {
        Some(_) => webpki_root_certs::TLS_SERVER_ROOT_CERTS,
        None => &[],
    };
    let public: Vec<_> = public.iter().filter(|root| issues_for_hosts(root)).cloned().collect();
    let mut code = String::new();
    table(&mut code, "PUBLIC", &public);
    table(&mut code, "PRIVATE", &private);
    let earliest = env::var("SOURCE_DATE_EPOCH").unwrap_or_else(|_| EARLIEST.into());
    if earliest.parse::<u32>().is_err() {
        fail(&format!("SOURCE_DATE_EPOCH is `{earliest}`, not a number of seconds since 1970"));
    }
    writeln!(code, "pub(crate) const EARLIEST: u32 = {earliest};").expect("into a string");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("built.rs"), code).expect("cargo made the folder");
}

/// Returns whether one of [`HOSTS_ISSUERS`] is the organisation of a root.
fn issues_for_hosts(root: &CertificateDer<'_>) -> bool {
    /// The object identifier 2.5.4.10, organizationName; a string follows: its
    /// tag, its length and its bytes.
    const ORGANISATION: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x0A];
    let Some(Anchor { subject, .. }) = Anchor::from_certificate(root) else { return false };
    let mut places = subject.windows(ORGANISATION.len());
    let Some(at) = places.position(|place| place == ORGANISATION) else { return false };
    let text = &subject[at + ORGANISATION.len()..];
    HOSTS_ISSUERS.iter().any(|name| {
        text.get(1) == u8::try_from(name.len()).ok().as_ref()
            && text[2..].starts_with(name.as_bytes())
    })
}

/// Reads the certificates of a PEM file.
fn read_pem(path: &Path) -> Vec<CertificateDer<'static>> {
    let shown = path.display();
    if !path.is_absolute() {
        fail(&format!("TOWLINE_CA is `{shown}`; give the absolute path of a PEM file"));
    }
    println!("cargo::rerun-if-changed={shown}");
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match certificates {
        Err(error) => fail(&format!("TOWLINE_CA names `{shown}`, which is not readable: {error}")),
        Ok(none) if Vec::is_empty(&none) => fail(&format!(
            "TOWLINE_CA names `{shown}`, which holds no certificate in PEM form \
             (`-----BEGIN CERTIFICATE-----`)"
        )),
        Ok(certificates) => certificates,
    }
}

/// Writes a table of anchors, in the order of their names.
fn table(code: &mut String, name: &str, certificates: &[CertificateDer<'_>]) {
    let mut anchors: Vec<_> = certificates
        .iter()
        .map(|der| match Anchor::from_certificate(der) {
            Some(anchor) => anchor,
            None => fail("TOWLINE_CA names a file with a block that is no X.509 certificate"),
        })
        .collect();
    anchors.sort_by_key(|anchor| (anchor.subject, anchor.key));
    writeln!(code, "pub(crate) static {name}: &[crate::Anchor<'static>] = &[").expect("a string");
    for Anchor { subject, key } in anchors {
        writeln!(code, "crate::Anchor {{ subject: &{subject:?}, key: &{key:?} }},")
            .expect("a string");
    }
    code.push_str("];\n");
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    exit(1)
}
