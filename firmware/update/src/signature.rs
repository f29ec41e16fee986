//! Ed25519 signatures.
//!
//! Firmware hands [`ed25519`] to the client where it follows signed channels.
//! What does not name it is linked without a byte of it.
//!
//! Measured on RV32IMC for a descriptor of 1366 bytes: 4.9 M instructions, 7.1 KB
//! of stack and 26 KB of code and tables; 5.2 M instructions and 10.4 KB of stack
//! with reading root and descriptor (`cargo xtask virt figures`, which holds all
//! of these to a limit).

use crate::descriptor::{Key, Signature};
use ed25519_compact as compact;

/// Returns whether a signature of the message, given in parts, is one of the
/// key.
///
/// Refused whatever they sign: S that is not below the order of the group, and
/// keys and R that are of small order or not the one encoding of their point.
/// So nobody makes a second signature from one, and no key signs all messages.
/// The equation is the one of RFC 8032, with the cofactor.
pub fn ed25519(key: &Key, message: &[&[u8]], signature: &Signature) -> bool {
    let key = compact::PublicKey::new(key.0);
    let Ok(mut state) = key.verify_incremental(&compact::Signature::new(signature.0)) else {
        return false;
    };
    message.iter().for_each(|part| state.absorb(part));
    state.verify().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn hex(text: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect()
    }

    fn verify(key: &str, message: &[u8], signature: &[u8]) -> bool {
        ed25519(&key.parse().unwrap(), &[message], &Signature(signature.try_into().unwrap()))
    }

    /// Key, message, signature: tests 1, 2, 3 and SHA(abc) of RFC 8032, 7.1.
    const RFC_8032: [[&str; 3]; 4] = [
        [
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ],
        [
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ],
        [
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ],
        [
            "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
        ],
    ];

    /// What is asked of a verification, message, key, signature: the cases of
    /// "Taming the many `EdDSAs`" (Chalkias, Garillot, Nikolaenko, 2020).
    const EDGES: [(&str, bool, [&str; 3]); 12] = [
        (
            "S = 0, small A and R",
            false,
            [
                "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
                "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
                "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a0000000000000000000000000000000000000000000000000000000000000000",
            ],
        ),
        (
            "small A, mixed R",
            false,
            [
                "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
                "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
                "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
            ],
        ),
        (
            "mixed A, small R",
            false,
            [
                "aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab",
                "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
                "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e",
            ],
        ),
        (
            "mixed A and R",
            true,
            [
                "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
                "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
                "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009",
            ],
        ),
        (
            "mixed A and R, with the cofactor only",
            true,
            [
                "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
                "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
                "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed5125ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09",
            ],
        ),
        (
            "the same, where 8 h may not be reduced before",
            true,
            [
                "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
                "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
                "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405",
            ],
        ),
        (
            "S not below L",
            false,
            [
                "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
                "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
                "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514",
            ],
        ),
        (
            "S far above L",
            false,
            [
                "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
                "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
                "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa19427e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22",
            ],
        ),
        (
            "another encoding of R, hashed as its point",
            false,
            [
                "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
                "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
                "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff03be9678ac102edcd92b0210bb34d7428d12ffc5df5f37e359941266a4e35f0f",
            ],
        ),
        (
            "another encoding of R, hashed as it stands",
            false,
            [
                "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
                "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
                "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffca8c5b64cd208982aa38d4936621a4775aa233aa0505711d8fdcfdaa943d4908",
            ],
        ),
        (
            "another encoding of A, hashed as its point",
            false,
            [
                "e96b7021eb39c1a163b6da4e3093dcd3f21387da4cc4572be588fafae23c155b",
                "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dca5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
            ],
        ),
        (
            "another encoding of A, hashed as it stands",
            false,
            [
                "39a591f5321bbe07fd5a23dc2f39d025d74526615746727ceefd6e82ae65c06f",
                "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dca5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
            ],
        ),
    ];

    #[test]
    fn signatures_of_rfc_8032_are_accepted_and_damaged_ones_are_not() {
        for [key, message, signature] in RFC_8032 {
            let (message, signature) = (hex(message), hex(signature));
            assert!(verify(key, &message, &signature), "{key}");
            for at in [0, 31, 32, 62, 63] {
                let mut damaged = signature.clone();
                damaged[at] ^= 1;
                assert!(!verify(key, &message, &damaged), "{key}: byte {at}");
            }
            assert!(!verify(key, &[&message[..], b"!"].concat(), &signature), "{key}");
            assert!(!verify(RFC_8032[0][0], b"!", &signature), "{key}");
        }
    }

    #[test]
    fn a_message_is_the_same_in_any_parts() {
        let [key, message, signature] = RFC_8032[3];
        let (key, message) = (key.parse().unwrap(), hex(message));
        let signature = Signature(hex(signature).try_into().unwrap());
        for cut in [0, 1, 63, 64] {
            let (head, tail) = message.split_at(cut);
            assert!(ed25519(&key, &[head, b"", tail], &signature), "cut at {cut}");
        }
        assert!(!ed25519(&key, &[&message[1..], &message[..1]], &signature));
    }

    #[test]
    fn edge_cases_are_settled_strictly() {
        for (what, accepted, [message, key, signature]) in EDGES {
            assert_eq!(verify(key, &hex(message), &hex(signature)), accepted, "{what}");
        }
    }

    #[test]
    fn s_that_wraps_around_the_order_is_no_second_signature() {
        let order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        for [key, message, signature] in RFC_8032 {
            let mut second = hex(signature);
            let mut carry = 0;
            for (byte, add) in second[32..].iter_mut().zip(&order) {
                let sum = u16::from(*byte) + u16::from(*add) + carry;
                (*byte, carry) = (sum as u8, sum >> 8);
            }
            assert_eq!(carry, 0);
            assert!(!verify(key, &hex(message), &second), "{key}");
        }
    }

    #[test]
    fn a_key_of_small_order_signs_nothing() {
        // R the neutral element and S = 0 would sign all messages with these.
        let mut forged = [0; 64];
        forged[0] = 1;
        for key in [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            // Other encodings of the first three.
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ] {
            assert!(!verify(key, b"anything", &forged), "{key}");
        }
    }
}
