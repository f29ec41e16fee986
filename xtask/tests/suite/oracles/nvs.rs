//! Settings of boards, against Espressif's generator of them.

use super::{Oracles, unhex};
use crate::check::foreign::{Site, found};
use serde_json::json;

#[test]
fn the_network_of_a_board_is_found_as_espressif_writes_it() {
    let Some(oracles) = Oracles::find() else { return };
    let (name, password) = ("04000000686f6d6500", "636f727265637420686f72736500");
    let network =
        [["sta.ssid", "hex2bin", name], ["sta.pswd", "hex2bin", password]].map(|row| json!(row));
    // What fills a page before it.
    let many: Vec<_> = (0..100).map(|n| json!([format!("key{n}"), "string", "text"])).collect();
    let behind = [&many[..], &network].concat();
    let wifi = json!(["nvs.net80211", network]);
    let cases = [
        (json!([wifi]), true),
        (json!([["lamp", many], wifi]), true),
        (json!([["nvs.net80211", behind]]), true),
        (json!([["lamp", network]]), false),
        (json!([["lamp", many], ["nvs.net80211", [["sta.ssid", "hex2bin", "0000000000"]]]]), false),
    ];
    let questions: Vec<_> = cases.iter().map(|(settings, _)| settings).collect();
    let answers: Vec<String> = oracles.ask("nvs.py", &questions);
    for (flash, (settings, is_found)) in answers.iter().zip(&cases) {
        let site = Site::new();
        site.write("web/nvs.bin", unhex(flash));
        let codes: Vec<_> = found(site.dir.path(), &["."]).into_iter().map(|f| f.0).collect();
        let expected: &[&str] = if *is_found { &["wifi-credentials"] } else { &[] };
        assert_eq!(codes, expected, "{settings}");
    }
}
