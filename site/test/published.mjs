// The site under test: the folder that a release left behind, served on
// loopback as a static host serves it, below a path of its own. Nothing but
// the folder's files is there: no index of a folder, no redirect, no fallback.

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";

const BASE = "/some/project/";

const TYPES = {
  ".bin": "application/octet-stream",
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
};

/**
 * Finds the folder to test: `SITE_DIR`, or the place where a release stages the site.
 *
 * Throws, with the command to run, when no page is there.
 */
export function siteDir() {
  const dir = path.resolve(process.env.SITE_DIR ?? fileURLToPath(new URL("../../dist/site", import.meta.url)));
  if (!existsSync(path.join(dir, "index.html"))) {
    throw new Error(
      `no rendered site at ${dir}: run \`cargo xtask release\` first, or name another folder with SITE_DIR`,
    );
  }
  return dir;
}

/** The version of the newest release of a site. */
export async function newestVersion(dir) {
  return JSON.parse(await readFile(path.join(dir, "releases.json"), "utf8")).releases[0].version;
}

/** Serves `dir` on a free loopback port until `close`; `url` is where its index lies. */
export async function serve(dir) {
  const server = createServer(async (request, response) => {
    const file = fileOf(dir, request.url);
    try {
      const body = await readFile(file);
      response.writeHead(200, {
        "content-type": TYPES[path.extname(file)] ?? "application/octet-stream",
        "content-length": body.length,
      });
      response.end(request.method === "HEAD" ? undefined : body);
    } catch {
      response.writeHead(404, { "content-type": "text/plain" }).end("not found\n");
    }
  });
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${server.address().port}${BASE}`,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Maps a request to the file it names; one outside the base path or the folder, to a name that is not there. */
function fileOf(dir, requested) {
  const { pathname } = new URL(requested, "http://site");
  const nowhere = path.join(dir, "\0");
  if (!pathname.startsWith(BASE)) return nowhere;
  let name;
  try {
    name = decodeURIComponent(pathname.slice(BASE.length)) || "index.html";
  } catch {
    return nowhere;
  }
  const file = path.join(dir, name);
  return file.startsWith(dir + path.sep) ? file : nowhere;
}
