import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./bundle.mjs";

const { compareVersions } = await load("version");

test("versions_are_in_the_order_of_the_specification", () => {
  const ascending = [
    "0.0.1",
    "0.9.10",
    "0.10.9",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.2",
    "1.0.0-rc.10",
    "1.0.0",
    "1.0.1-0",
    "1.0.1",
    "2.0.0",
    "10.0.0",
    "99999999999999999999.0.0",
  ];
  for (const [i, a] of ascending.entries()) {
    for (const [k, b] of ascending.entries()) {
      assert.equal(Math.sign(compareVersions(a, b)), Math.sign(i - k), `${a} and ${b}`);
    }
  }
});

test("a_leading_v_and_build_metadata_have_no_weight", () => {
  for (const [a, b] of [
    ["v1.2.3", "1.2.3"],
    ["1.2.3+one", "1.2.3+two"],
    ["1.2.3+one", "1.2.3"],
    ["v1.2.3-rc.1+x", "1.2.3-rc.1"],
  ]) {
    assert.equal(compareVersions(a, b), 0, `${a} and ${b}`);
  }
});

test("what_is_not_a_semantic_version_has_no_order", () => {
  const wrong = ["", "1", "1.2", "1.2.3.4", "01.2.3", "1.2.3-01", "1.2.3-", "1.2.3-a..b", "V1.2.3", " 1.2.3"];
  wrong.push("1.2.3\n");
  for (const text of wrong) {
    assert.equal(compareVersions(text, "1.2.3"), null, JSON.stringify(text));
    assert.equal(compareVersions("1.2.3", text), null, JSON.stringify(text));
  }
});
