//! 22: roots that are none, and those that are.

use super::{
    Case, Expected, Factory, Poll, ROOT, SECOND, STABLE, STRANGER, Stage, published, role, root,
    signed,
};

/// The keys that each root hands over to.
const ROOTS: [u8; 4] = [ROOT, 2, 3, 4];
const CHANNELS: [u8; 4] = [STABLE, SECOND, 12, 13];

pub(super) fn all(stage: &Stage) -> Vec<Case> {
    let honest = || signed(&stage.payload(100), &[STABLE]);
    let case = |name, number, root: String, why| Case {
        name,
        factory: Factory::First,
        polls: vec![Poll {
            descriptor: honest(),
            roots: vec![(number, root)],
            expected: Expected::Refuses(why),
            ..Poll::default()
        }],
    };
    let stolen = |version| root(version, role(1, &[STRANGER]), role(1, &[STRANGER]));
    // Each signed by the root before it and by itself.
    let rotated: Vec<_> = (1..ROOTS.len())
        .map(|index| {
            let next =
                root(index as u32 + 1, role(1, &[ROOTS[index]]), role(1, &[CHANNELS[index]]));
            (index as u32 + 1, published(&next, &[ROOTS[index - 1], ROOTS[index]]))
        })
        .collect();
    let last = signed(&stage.payload(100), &[CHANNELS[CHANNELS.len() - 1]]);
    let revoked = root(2, role(1, &[ROOT]), role(1, &[SECOND]));
    let before = "not trusted: too few keys of the root before it";
    vec![
        case(
            "22 the root after the next, in the place of the next",
            2,
            published(&root(3, role(1, &[ROOT]), role(1, &[STABLE])), &[ROOT]),
            "not trusted: the next root has another number",
        ),
        case(
            "22 a root that only its own keys signed",
            2,
            published(&stolen(2), &[STRANGER]),
            before,
        ),
        case(
            "22 a root that only the one before signed",
            2,
            published(&stolen(2), &[ROOT]),
            "not trusted: too few of its own keys",
        ),
        case(
            "22 a root that the key of a channel signed",
            2,
            published(&root(2, role(1, &[ROOT]), role(1, &[STRANGER])), &[STABLE]),
            before,
        ),
        Case {
            name: "22 none: three rotations while the device was off",
            factory: Factory::First,
            polls: vec![Poll {
                descriptor: last.clone(),
                roots: rotated.clone(),
                ..Poll::default()
            }],
        },
        Case {
            name: "22 the keys before three rotations",
            factory: Factory::First,
            polls: vec![
                Poll {
                    descriptor: signed(&stage.current(100), &[CHANNELS[CHANNELS.len() - 1]]),
                    roots: rotated,
                    expected: Expected::Stays("up to date"),
                    ..Poll::default()
                },
                // Without the roots: the device does not forget them.
                Poll {
                    descriptor: signed(&stage.payload(101), &[STABLE]),
                    expected: Expected::Refuses("not trusted: too few keys of the channel"),
                    ..Poll::default()
                },
            ],
        },
        Case {
            name: "22 a key that was revoked",
            factory: Factory::First,
            polls: vec![Poll {
                descriptor: honest(),
                roots: vec![(2, published(&revoked, &[ROOT]))],
                expected: Expected::Refuses("not trusted: too few keys of the channel"),
                ..Poll::default()
            }],
        },
    ]
}
