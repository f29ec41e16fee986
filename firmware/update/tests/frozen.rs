//! What was published once stays readable, and its signatures stay good.

use towline::descriptor::{
    Descriptor, Document, Envelope, Priority, Role, Root, Version, envelope::ROOT_TYPE,
};
use towline::ed25519;

const ROOTS: [&str; 2] = [include_str!("frozen/root-1.json"), include_str!("frozen/root-2.json")];
const DESCRIPTOR: &str = include_str!("frozen/descriptor-1-signed.json");

/// Returns who signs roots and who signs `stable`, according to a root.
fn roles(document: &str) -> (u32, Role, Role) {
    let mut document = document.as_bytes().to_vec();
    let envelope = Envelope::parse(&mut document).unwrap();
    assert_eq!(envelope.payload_type(), ROOT_TYPE);
    let root = Root::parse(envelope.into_payload(), "stable").unwrap();
    assert_eq!(root.project, "lamp");
    (root.version, root.root, root.channel.unwrap())
}

fn is_signed_by(document: &str, role: &Role) -> bool {
    let mut document = document.as_bytes().to_vec();
    Envelope::parse(&mut document).unwrap().signed_by(role, ed25519).is_some()
}

#[test]
fn frozen_roots_are_a_chain() {
    let [(first, signers, _), (second, own_signers, _)] = ROOTS.map(roles);
    assert_eq!([first, second], [1, 2]);
    assert!(is_signed_by(ROOTS[0], &signers));
    assert!(is_signed_by(ROOTS[1], &signers) && is_signed_by(ROOTS[1], &own_signers));
}

#[test]
fn a_frozen_signed_descriptor_is_read_and_verified() {
    let [(.., old), (.., new)] = ROOTS.map(roles);
    assert!(is_signed_by(DESCRIPTOR, &new));
    assert!(!is_signed_by(DESCRIPTOR, &old), "the key was rotated");
    let mut document = DESCRIPTOR.as_bytes().to_vec();
    assert!(matches!(Document::parse(&mut document), Ok(Document::Signed(_))));
    let mut document = DESCRIPTOR.as_bytes().to_vec();
    let descriptor = Descriptor::parse(&mut document).unwrap();
    assert_eq!(descriptor.version.as_str(), "1.3.0");
    assert_eq!(descriptor.seq, Some(1_795_296_013));
    assert_eq!(descriptor.expires, Some(1_797_888_013));
    assert_eq!(descriptor.min_from.as_ref().map(Version::as_str), Some("1.1.0"));
    assert_eq!(descriptor.steps[0].version.as_str(), "1.2.0");
    assert_eq!((descriptor.rollout.percent.hundredths(), descriptor.rollout.paused), (1250, true));
    let policy = descriptor.policy;
    assert_eq!(policy.window.map(|window| (window.start, window.end)), Some((1350, 270)));
    assert_eq!((policy.not_before, policy.not_after), (Some(1_795_219_200), Some(1_798_761_600)));
    assert_eq!(policy.priority, Priority::Urgent);
    assert_eq!((policy.groups.as_slice(), policy.devices.len()), (&["beta"][..], 1));
    assert!(policy.approval && policy.downgrade);
    assert_eq!(policy.metadata, Some(r#"{"mood":"blue"}"#));
}
