//! Whom a device trusts, tried with every host that it must not.

use super::{Bench, HOST, Programs, Scheme, serve, told};
use crate::{
    serve::Identity,
    ui::{Ui, table},
    virt::End,
};
use anyhow::{Result, ensure};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use std::{fs, path::Path, time::Duration};

/// Longest time of a run.
const PATIENCE: Duration = Duration::from_secs(60);

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// A host, and what becomes of a device that is sent there.
struct Case {
    what: &'static str,
    host: Identity,
    /// Further settings of the device.
    settings: &'static str,
    /// What the device says; `None` if it has to do its work.
    refusal: Option<&'static str>,
}

/// Sends a device to hosts that it must not trust, and to some that it must.
pub(super) fn run(programs: &Programs, root: &Path, ui: Ui) -> Result<()> {
    let bench = Bench::new(programs, root, Scheme::Https)?;
    bench.release(&programs.first)?;
    bench.provision(&programs.first)?;
    let mut rows = vec![["HOST", "DEVICE"].map(String::from)];
    for case in cases()? {
        ui.say(case.what);
        let port = serve(&bench.dir, Some(&case.host))?;
        let told = told(port, &case.host.authority)? + case.settings;
        fs::write(&bench.machine.settings, told)?;
        let mut console = Vec::new();
        let end = bench.machine.run(PATIENCE, |line| {
            ui.say(format_args!("  {line}"));
            console.push(line.to_owned());
        })?;
        let (expected, said) = match case.refusal {
            Some(refusal) => (End::Failed, refusal),
            None => (End::Finished, "app: stays"),
        };
        let found = console.iter().any(|line| line.contains(said));
        ensure!(
            end == expected && found,
            "{}: the device should have said `{said}`:\n{}",
            case.what,
            console.join("\n")
        );
        let shown = case.refusal.map_or("trusts it", |_| "refuses it: ");
        rows.push([case.what.into(), format!("{shown}{}", case.refusal.unwrap_or_default())]);
    }
    println!("{}", table(&rows));
    Ok(())
}

fn cases() -> Result<Vec<Case>> {
    let trusted = authority("Trusted")?;
    let stranger = authority("Stranger")?;
    let mut cases = Vec::new();
    let mut case = |what, chain: Chain, settings, refusal| -> Result<()> {
        let Chain { certificates, key } = chain;
        let host = Identity::with_chain(certificates, &key, trusted.pem())?;
        cases.push(Case { what, host, settings, refusal });
        Ok(())
    };
    let valid = || CertificateParams::new([HOST.to_owned()]);
    case("a certificate of the authority", Chain::new(valid()?, &trusted, &[])?, "", None)?;

    let between = subordinate("Between", &trusted)?;
    let chain = Chain::new(valid()?, &between, &[between.as_ref()])?;
    case("one of an authority that it vouches for", chain, "", None)?;

    // Root programmes begin with such chains: the root is known to some clients
    // only by what an older one says of it.
    let key = KeyPair::try_from(trusted.key().serialize_der().as_slice())?;
    let cross = authority_params("Trusted").signed_by(&key, &stranger)?;
    let chain = Chain::new(valid()?, &trusted, &[&cross, stranger.as_ref()])?;
    case("one of the authority, cross-signed by a stranger", chain, "", None)?;

    let chain = Chain::new(valid()?, &stranger, &[stranger.as_ref()])?;
    case("one of a stranger", chain, "", Some("Untrusted"))?;

    // The stranger calls itself by the name of the authority.
    let namesake = authority("Trusted")?;
    let chain = Chain::new(valid()?, &namesake, &[namesake.as_ref()])?;
    case("one of a namesake of the authority", chain, "", Some("Untrusted"))?;

    let chain = Chain::new(valid()?, &namesake, &[trusted.as_ref()])?;
    case("one of a namesake, sent with the authority", chain, "", Some("Untrusted"))?;

    // Somebody has a certificate of the authority, for another host, and signs
    // with its key.
    let mut params = CertificateParams::new(["other.towline.test".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, "Other");
    let other = CertifiedIssuer::signed_by(params, KeyPair::generate()?, &trusted)?;
    let chain = Chain::new(valid()?, &other, &[other.as_ref(), trusted.as_ref()])?;
    case("one signed by another host", chain, "", Some("Untrusted"))?;

    let params = CertificateParams::new(["other.towline.test".to_owned()])?;
    let chain = Chain::new(params, &trusted, &[])?;
    case("one for another host", chain, "", Some("WrongHost"))?;

    let mut params = valid()?;
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
    case("one that has expired", Chain::new(params, &trusted, &[])?, "", Some("Expired"))?;

    let mut params = valid()?;
    params.not_before = date_time_ymd(2100, 1, 1);
    params.not_after = date_time_ymd(2101, 1, 1);
    case("one of the future", Chain::new(params, &trusted, &[])?, "", Some("NotYetValid"))?;

    let chain = Chain::new(valid()?, &trusted, &[])?;
    case("any, while the clock is not set", chain, "clock=unset\n", Some("ClockUnset"))?;
    Ok(cases)
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str) -> Result<Issuer> {
    Ok(CertifiedIssuer::self_signed(authority_params(name), KeyPair::generate()?)?)
}

fn subordinate(name: &str, by: &Issuer) -> Result<Issuer> {
    Ok(CertifiedIssuer::signed_by(authority_params(name), KeyPair::generate()?, by)?)
}

/// What a host sends, and its key.
struct Chain {
    certificates: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

impl Chain {
    fn new(params: CertificateParams, by: &Issuer, more: &[&Certificate]) -> Result<Self> {
        let key = KeyPair::generate()?;
        let first = params.signed_by(&key, by)?;
        let more = more.iter().map(|certificate| certificate.der().clone());
        Ok(Self { certificates: [first.der().clone()].into_iter().chain(more).collect(), key })
    }
}
