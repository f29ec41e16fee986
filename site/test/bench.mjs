// What every file of tests of the installer needs: the sites, served with
// emulated boards, and a browser.

import { after, before } from "node:test";
import { launch } from "./browser.mjs";
import { serveDemo } from "./demo.mjs";
import { harbour } from "./harbour.mjs";
import { withInstaller } from "./installer.mjs";

/**
 * Serves the harbour and starts a browser around the tests of a file. Once
 * they run, `dir` is the folder of the site and `open(options, body)` runs
 * `body` with the installer.
 */
export function bench(flags = []) {
  const it = {
    open: (options, body) => withInstaller(it.browser, it.site, options, body),
  };
  before(async () => {
    const { dir, manifest } = await harbour();
    it.dir = dir;
    it.site = await serveDemo(dir, manifest);
    it.browser = await launch(flags);
  });
  after(async () => {
    await it.browser?.close();
    await it.site?.close();
  });
  return it;
}
