// The installer of the page: what it needs before the first click.

import "./installer.css";

document.getElementById("install")?.removeAttribute("hidden");
