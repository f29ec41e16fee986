// Every word of the installer, in English and in German.
//
// A language is one object of the type of the English one: a sentence that is
// missing, or that takes other values, does not compile. Sentences with values
// are functions, so that each language has its own order and its own plurals.

import type { Facts, FailureCode } from "./failure";

export type Language = "en" | "de";

/** A failure as a person reads it: what it is, why, and what to do now, in the order to try. */
export interface Trouble {
  title: string;
  why: string;
  steps: string[];
}

const en = {
  language: "Language",
  install: "Install",
  close: "Close",
  cancel: "Cancel",
  copy: "Copy",
  copied: "Copied",
  retry: "Try again",
  otherPort: "Choose another port",

  // Choosing
  title: "Install over USB",
  lede: "Connect your board to this computer. This page finds out which chip it has, and writes the right firmware.",
  channel: "Channel",
  noRelease: "no release yet",
  version: "Version",
  served: (channel: string) => `Served by ${channel}`,
  byBoard: (versions: string) => `${versions}, depending on the board`,
  otherVersions: "Other versions",
  yankedVersions: "Yanked",
  prerelease: "pre-release",
  yanked: (reason: string) => (reason ? `Yanked: ${reason}` : "Yanked"),
  yankedHint: "Choose another version unless you know that you need this one.",
  released: (date: string) => `released ${date}`,
  whatsNew: (version: string) => `What is new in ${version}`,
  notes: "Release notes",
  noNotes: "This release came without notes.",
  chips: (families: string) => `For boards with ${families}`,
  connectBoard: "Connect your board",
  connectHint: "Takes about two minutes. Nothing is written before you say so.",
  serialConsole: "Serial console",
  unknownChannel: (name: string) => `The link asks for the channel “${name}”, which is not here.`,
  unknownVersion: (version: string) => `The link asks for version “${version}”, which cannot be installed from here.`,
  unknownTarget: (target: string) => `The link asks for the target “${target}”, which this release does not have.`,
  shownInstead: (what: string) => `Chosen instead: ${what}.`,
  indexFailed: "The list of releases could not be loaded.",
  chooseBoard: "Board",
  byCommand: "Install with a command",
  commandHint: (esptool: string, espflash: string) =>
    `Download these files into one folder and run one of the two commands there. Install the tools with ${esptool} or ` +
    `${espflash}. Settings on the board stay, unless this version divides the flash differently.`,
  files: "Files",
  onComputer: "Open this page on a computer",
  onComputerWhy: "Firmware is installed over USB, and this browser cannot reach the USB port of a phone or tablet.",
  address: "Address of this page",

  // Before the browser's own window
  beforeTitle: "Connect your board",
  before: "Your browser will ask which port to use.",
  beforeSteps: [
    "Plug the board into this computer, with a USB cable that carries data.",
    "Click “Choose the port”. Your browser opens a list.",
    "Pick your board and confirm. It is often called “USB JTAG/serial debug unit”, “CP2102”, “CH340” or “USB Serial”.",
  ],
  beforeNote: "Not sure which one? Unplug the board, plug it in again, and see which line comes back.",
  choosePort: "Choose the port",
  waitingForPort: "Waiting for your choice in the browser’s list …",
  connectingTitle: "Looking at your board",
  connecting: "This takes a few seconds. Nothing is written yet.",
  stages: {
    open: "Opening the port",
    sync: "Waking the chip’s loader",
    stub: "Starting the flasher",
    speed: "Agreeing on a faster speed",
    look: "Reading what is on the board",
  },

  // What was found
  foundTitle: (chip: string) => `${chip} found`,
  foundLead: (version: string) => `Check what will happen, then install ${version}.`,
  flash: (size: string) => `${size} flash`,
  psram: (size: string) => `${size} PSRAM`,
  noPsram: "no PSRAM",
  psramUnknown: "PSRAM not known",
  mac: "MAC address",
  runsNow: "Now",
  runsBlank: "nothing, the board is blank",
  runsForeign: "another firmware",
  runsUnreadable: "something that could not be read",
  willBe: "Afterwards",
  target: "Target",
  targetsFit: "Several targets fit this chip. Which board is it?",
  settings: "Settings",
  keep: "Keep my settings",
  keepHint: "Wi-Fi, names and saved data stay as they are.",
  keepSome: "What is not listed below stays as it is.",
  keepNot: "Not possible here: they would be written over, or nobody knows where they are.",
  erase: "Erase everything",
  eraseHint: "The board starts as if it were new.",
  eraseOnly: "There is nothing on this board to lose. All of it is erased first.",
  lostTitle: "This will be lost",
  lostAll: "Everything that is on the board: its firmware, its settings, its saved data.",
  lost: {
    moved: (name: string) => `${name}: it has another place in this version`,
    resized: (name: string) => `${name}: it has another size in this version`,
    removed: (name: string) => `${name}: this version does not have it`,
    overwritten: (name: string) => `${name}: it is written over`,
  },
  warnings: {
    "table-changed": "This version divides the flash differently from what is on the board.",
    "older-than-min-from": (minFrom: string, now: string) =>
      `This version understands settings from ${minFrom} on; the board has ${now}. Erase everything, or install ` +
      `${minFrom} first.`,
    downgrade: (now: string) =>
      `This is older than ${now}, which is on the board. It may not understand newer settings.`,
    prerelease: "This is a pre-release, meant for testing.",
    yanked: (reason: string) => (reason ? `This version was yanked: ${reason}` : "This version was yanked."),
    "app-running-other-project": "Settings on this board are from another firmware. This one may not understand them.",
    "psram-unknown": "The chip does not tell whether it has PSRAM. Make sure that your board has it.",
  },
  same: (version: string) => `${version} is already on this board. Installing it again repairs what may be damaged.`,
  installVersion: (version: string) => `Install ${version}`,

  // At work
  workTitle: (version: string) => `Installing ${version}`,
  workLead: "Keep the cable plugged in and this tab open.",
  steps: { download: "Download", erase: "Erase", write: "Write", verify: "Check" },
  stepsNow: {
    download: "Downloading and checking the files",
    erase: "Erasing the board",
    write: "Writing",
    verify: "Reading back what was written",
  },
  progress: "Progress",
  parts: {
    bootloader: "bootloader",
    "partition-table": "partition table",
    otadata: "boot selection",
    app: "app",
  } as Record<string, string>,
  left: (time: string) => `${time} left`,
  stepOf: (step: string, percent: string) => `${step}: ${percent}`,
  stopTitle: "Stop installing?",
  stopText: "The board will be left with half a firmware and does not start until you install again. It takes no harm.",
  stopEarly: "Nothing has been written yet. The board stays as it is.",
  stop: "Stop",
  goOn: "Keep installing",
  stopping: "Stopping …",

  // After
  doneTitle: "Done",
  doneLead: (version: string) => `${version} is on your board, read back and checked.`,
  doneSilent: "Whether it runs could not be heard. If it does not, press the board’s button RESET (or EN) once.",
  another: "Install on another board",
  openDevice: "Open the device’s page",
  wifi: "Wi-Fi",
  wifiLooking: "Asking the board whether it wants Wi-Fi …",
  wifiNone:
    "The board did not offer to set up Wi-Fi over USB. It may need a moment more, or set up its network another way.",
  wifiAgain: "Ask again",
  wifiReady: (device: string) => (device ? `Connect ${device} to your network.` : "Connect the board to your network."),
  wifiStopped: "The board does not take Wi-Fi settings at the moment.",
  wifiScanning: "Looking for networks …",
  wifiNoScan: "The board cannot list networks. Type the name of yours.",
  wifiNetwork: "Network",
  wifiOther: "Other network …",
  wifiName: "Name of the network (SSID)",
  wifiSecured: "secured",
  wifiStrength: ["weak", "fair", "good", "very good"],
  wifiRescan: "Look again",
  password: "Password",
  showPassword: "Show password",
  wifiConnect: "Connect",
  wifiConnecting: (name: string) => `Connecting to ${name} …`,
  wifiOnline: (name: string) => (name ? `Connected to ${name}.` : "The board is connected."),
  wifiChange: "Use another network",
  wifiRefused: "The board could not join the network. Check the password; many boards know 2.4 GHz networks only.",
  wifiTimeout: "The board did not answer in time. Check that it is in reach of the network, and try again.",
  wifiFailed: "The board refused the settings. Try again.",
  wifiTooLong: "Names may have 32 and passwords 64 bytes at most.",
  console: "Serial console",
  consoleLead: "What the board prints, at 115200 baud.",
  consoleEmpty: "Nothing yet. “Restart board” makes most boards print something.",
  consoleReset: "Restart board",
  consoleClear: "Clear",
  consoleSave: "Download as text",
  consoleFollow: "Jump to the newest line",
  consoleLost: "The connection to the board has ended.",
  consoleReconnect: "Connect again",
  consoleDropped: (n: string) => `${n} older lines were dropped`,

  // Failures
  detail: "Technical details",
  bootPicture: "A board with two buttons. 1: hold BOOT. 2: press RESET once. 3: let go of BOOT.",
  otherVersion: "Choose another version",
  newBoard: "Connect another board",
  failures: {
    "no-web-serial": () => ({
      title: "This browser cannot install over USB",
      why: "It has no Web Serial, which lets a page talk to a USB port.",
      steps: [
        "On a computer, open this page in Chrome, Edge or Opera, or in Firefox 151 or newer.",
        "Or install with a command in a terminal: it writes the same files.",
      ],
    }),
    "insecure-context": () => ({
      title: "This page was not opened securely",
      why: "Browsers let a page talk to USB ports only when it came over https:// or from this computer.",
      steps: ["Open the page at its https:// address.", "Or install with a command in a terminal."],
    }),
    "no-port": () => ({
      title: "No port was chosen",
      why: "The browser’s list was closed without a choice. Perhaps your board was not in it.",
      steps: [
        "Try another USB cable first: many only charge, and then the board is not in the list.",
        "Plug the board directly into the computer, not into a hub, and watch whether a new line appears.",
        "If none does, install the driver of your board’s USB chip: CP210x from Silicon Labs or CH340 from WCH.",
        "On Linux, your user must be in the group dialout (on Arch: uucp). Log in again after adding it.",
      ],
    }),
    "port-busy": () => ({
      title: "The port could not be opened",
      why: "Most often another program is using it, and only one can at a time.",
      steps: [
        "Close serial monitors, the Arduino IDE, other flashing tools, and other tabs with this page.",
        "Unplug the board, plug it in again, and try again.",
        "On Linux, your user must be in the group dialout (on Arch: uucp). Log in again after adding it.",
      ],
    }),
    silent: () => ({
      title: "The board says nothing",
      why: "The port is open, but not one byte came from the board.",
      steps: [
        "Check that the board has power. Is there a light on it?",
        "Perhaps this is the port of something else. Choose another one.",
        "Use another USB cable, and no hub.",
        "Put the board into download mode by hand: hold BOOT, press RESET once, let go of BOOT. Then try again.",
      ],
    }),
    "not-in-download-mode": () => ({
      title: "The board is not in download mode",
      why: "It is alive, but its loader did not answer. On some boards only the buttons can start it.",
      steps: [
        "Hold the button BOOT (also called IO0, FLASH or 0).",
        "Press RESET once (also EN or RST). Without such a button, unplug the board and plug it in, holding BOOT.",
        "Let go of BOOT, and try again.",
      ],
    }),
    noise: () => ({
      title: "The connection is too noisy",
      why: "Answers from the board arrive garbled again and again, even at the slowest speed.",
      steps: [
        "Use another USB cable, a short one.",
        "Plug it directly into the computer, not into a hub.",
        "Disconnect whatever else is wired to the board’s pins TX and RX.",
      ],
    }),
    unplugged: () => ({
      title: "The board was unplugged",
      why: "The connection ended in the middle of the work. That does no lasting harm: installing again repairs it.",
      steps: [
        "Plug the board in again, and try again.",
        "If nobody touched it, use another cable or socket. A board that gets too little power drops out like this.",
      ],
    }),
    "unknown-chip": () => ({
      title: "This chip is not known here",
      why: "Something answered, but it is not a chip that this installer knows. Nothing was written.",
      steps: [
        "Make sure that you chose the port of an ESP32 board.",
        "If you did, the chip is newer than this page. Install with the commands below “Downloads”.",
      ],
    }),
    "wrong-chip": (f: Facts) => ({
      title: "Nothing here is for this board",
      why:
        {
          "flash-size":
            `${f["version"] ?? "This version"} needs more flash than this ${f["chip"] ?? "chip"} has ` +
            `(${f["flash"] ?? "?"}).`,
          psram: `${f["version"] ?? "This version"} needs more PSRAM than this ${f["chip"] ?? "chip"} has.`,
          "no-parts":
            `${f["version"] ?? "This version"} has updates for ${f["chip"] ?? "this chip"}, but nothing for a first ` +
            `install.`,
          chip:
            `${f["version"] ?? "This version"} is for ${f["chips"] ?? "other chips"}, and this is an ` +
            `${f["chip"] ?? "other one"}.`,
        }[f["reason"] ?? "chip"] ?? "",
      steps: ["Choose another version or channel.", "Or connect another board. Nothing was written to this one."],
    }),
    "old-chip": (f: Facts) => ({
      title: "This firmware is for another revision of the chip",
      why:
        `The chip on this board has revision ${f["found"] ?? "?"}. This version runs on revision ` +
        (f["most"] === undefined ? `${f["least"] ?? "?"} and newer` : `${f["most"]} and older`) +
        ", and would not start here. Nothing was written.",
      steps: [
        "Choose another version: it may have been built for this revision too.",
        "Or use a board with another revision of the chip.",
      ],
    }),
    "no-flash": () => ({
      title: "The flash of this board does not answer",
      why:
        "The chip is fine, but the memory for its firmware did not say what it is. After an erase that was broken " +
        "off it can be busy for some minutes. Nothing was written.",
      steps: [
        "Wait a minute, and try again.",
        "Unplug the board, plug it in again, and try again.",
        "Disconnect whatever else is wired to the board: some pins lead to the flash.",
        "If it fails every time, the flash of this board is broken.",
      ],
    }),
    "secure-download": () => ({
      title: "This chip is locked",
      why:
        "It is in secure download mode, which its maker turned on for good. It does not let anybody read what is on " +
        "it, so nothing was written.",
      steps: [
        "Ask whoever set the chip up how it gets new firmware.",
        "If it runs this firmware already, it can still update itself over the network.",
        "Or use another board.",
      ],
    }),
    "secure-boot": () => ({
      title: "This chip starts only signed firmware",
      why:
        "Secure boot was turned on for good. What is published here is not signed with the key of this chip and " +
        "would not start, so nothing was written.",
      steps: [
        "Ask whoever set the chip up how it gets new firmware.",
        "If it runs this firmware already, it can still update itself over the network.",
        "Or use another board.",
      ],
    }),
    "flash-encrypted": () => ({
      title: "The flash of this chip is encrypted",
      why:
        "It starts only firmware that was encrypted for this very chip. What is published here would not start, so " +
        "nothing was written.",
      steps: [
        "Ask whoever set the chip up how it gets new firmware.",
        "If it runs this firmware already, it can still update itself over the network.",
        "Or use another board.",
      ],
    }),
    "download-missing": (f: Facts) => ({
      title: "A file of this release is missing",
      why: `${f["file"] ?? "One of the files"} could not be fetched from this site. The board was not changed.`,
      steps: [
        "Try again in a few minutes: the site may be in the middle of being published.",
        "Choose another version.",
        "If it stays like this, tell the people of this project.",
      ],
    }),
    "download-tampered": (f: Facts) => ({
      title: "A file is not what it should be",
      why:
        `${f["file"] ?? "One of the files"} is not the one that was released: its SHA-256 differs. It was not ` +
        `written.`,
      steps: [
        "Try again: every file is fetched anew.",
        "Try another network: some change what they carry.",
        "If it stays like this, do not install, and tell the people of this project.",
      ],
    }),
    offline: () => ({
      title: "This site cannot be reached",
      why: "The files of the firmware could not be downloaded. The board was not changed.",
      steps: ["Check the network connection of this computer.", "Then try again: the board can stay plugged in."],
    }),
    "erase-failed": () => ({
      title: "The board could not be erased",
      why: "The flash chip did not report that it is erased.",
      steps: [
        "Try again: now and then that is all it takes.",
        "Use another USB socket or cable. Erasing needs the most power.",
        "If it fails every time, the flash of this board is write-protected or broken.",
      ],
    }),
    "write-failed": (f: Facts) => ({
      title: "Writing failed",
      why:
        `The board did not take ${f["part"] ? `all of the ${f["part"]}` : "all of the firmware"}. It does not start ` +
        `like this.`,
      steps: [
        "Try again: what was written already is not written twice.",
        "Use another USB cable or socket, and no hub.",
        "If it fails at the same place every time, the flash of this board is broken.",
      ],
    }),
    "verify-mismatch": (f: Facts) => ({
      title: "The board holds something other than what was sent",
      why:
        `Reading back ${f["part"] ? `the ${f["part"]}` : "the firmware"} gave other bytes. Do not use the board like ` +
        `this.`,
      steps: [
        "Try again: only what differs is written once more.",
        "Use another USB cable or socket, and no hub.",
        "If it stays like this, the flash of this board is worn out or smaller than it says.",
      ],
    }),
    cancelled: (f: Facts) => ({
      title: "You stopped the installation",
      why: f["written"]
        ? "The board has half a firmware now, and does not start until you install again."
        : "Nothing was written. The board is as it was.",
      steps: ["Try again whenever you like."],
    }),
    unknown: () => ({
      title: "Something went wrong",
      why: "This installer did not expect that.",
      steps: [
        "Unplug the board, plug it in, and try again.",
        "If it happens again, copy the technical details and send them to the people of this project.",
      ],
    }),
  } satisfies Record<FailureCode, (facts: Facts) => Trouble> as Record<FailureCode, (facts: Facts) => Trouble>,
};

export type Words = typeof en;

const de: Words = {
  language: "Sprache",
  install: "Installieren",
  close: "Schließen",
  cancel: "Abbrechen",
  copy: "Kopieren",
  copied: "Kopiert",
  retry: "Noch einmal versuchen",
  otherPort: "Anderen Anschluss wählen",

  title: "Über USB installieren",
  lede: "Verbinde dein Board mit diesem Computer. Diese Seite erkennt den Chip und schreibt die passende Firmware.",
  channel: "Kanal",
  noRelease: "noch keine Version",
  version: "Version",
  served: (channel) => `Von ${channel} angeboten`,
  byBoard: (versions) => `${versions}, je nach Board`,
  otherVersions: "Andere Versionen",
  yankedVersions: "Zurückgezogen",
  prerelease: "Vorabversion",
  yanked: (reason) => (reason ? `Zurückgezogen: ${reason}` : "Zurückgezogen"),
  yankedHint: "Nimm eine andere Version, außer du brauchst genau diese.",
  released: (date) => `vom ${date}`,
  whatsNew: (version) => `Neu in ${version}`,
  notes: "Versionshinweise",
  noNotes: "Zu dieser Version gibt es keine Hinweise.",
  chips: (families) => `Für Boards mit ${families}`,
  connectBoard: "Board verbinden",
  connectHint: "Dauert etwa zwei Minuten. Geschrieben wird erst, wenn du es sagst.",
  serialConsole: "Serielle Konsole",
  unknownChannel: (name) => `Der Link nennt den Kanal „${name}“, den es hier nicht gibt.`,
  unknownVersion: (version) => `Der Link nennt Version „${version}“, die sich von hier nicht installieren lässt.`,
  unknownTarget: (target) => `Der Link nennt das Ziel „${target}“, das diese Version nicht hat.`,
  shownInstead: (what) => `Stattdessen gewählt: ${what}.`,
  indexFailed: "Die Liste der Versionen konnte nicht geladen werden.",
  chooseBoard: "Board",
  byCommand: "Mit einem Befehl installieren",
  commandHint: (esptool, espflash) =>
    `Lade diese Dateien in einen Ordner und führe dort einen der beiden Befehle aus. Die Werkzeuge installierst du mit ` +
    `${esptool} oder ${espflash}. Einstellungen auf dem Board bleiben, wenn diese Version den Flash nicht anders ` +
    `aufteilt.`,
  files: "Dateien",
  onComputer: "Öffne diese Seite an einem Computer",
  onComputerWhy:
    "Firmware kommt über USB auf das Board, und dieser Browser erreicht den USB-Anschluss eines Telefons oder Tablets " +
    "nicht.",
  address: "Adresse dieser Seite",

  beforeTitle: "Board verbinden",
  before: "Dein Browser fragt gleich, welchen Anschluss er nehmen soll.",
  beforeSteps: [
    "Stecke das Board an diesen Computer, mit einem USB-Kabel, das Daten überträgt.",
    "Klicke auf „Anschluss wählen“. Dein Browser öffnet eine Liste.",
    "Wähle dein Board und bestätige. Oft heißt es „USB JTAG/serial debug unit“, „CP2102“, „CH340“ oder „USB Serial“.",
  ],
  beforeNote: "Nicht sicher, welches? Zieh das Board ab, steck es wieder an und sieh, welche Zeile zurückkommt.",
  choosePort: "Anschluss wählen",
  waitingForPort: "Warte auf deine Wahl in der Liste des Browsers …",
  connectingTitle: "Dein Board wird untersucht",
  connecting: "Das dauert ein paar Sekunden. Noch wird nichts geschrieben.",
  stages: {
    open: "Anschluss öffnen",
    sync: "Lader des Chips wecken",
    stub: "Schreibprogramm starten",
    speed: "Höhere Geschwindigkeit vereinbaren",
    look: "Lesen, was auf dem Board ist",
  },

  foundTitle: (chip) => `${chip} gefunden`,
  foundLead: (version) => `Prüfe, was geschehen wird, und installiere dann ${version}.`,
  flash: (size) => `${size} Flash`,
  psram: (size) => `${size} PSRAM`,
  noPsram: "kein PSRAM",
  psramUnknown: "PSRAM nicht bekannt",
  mac: "MAC-Adresse",
  runsNow: "Jetzt",
  runsBlank: "nichts, das Board ist leer",
  runsForeign: "eine andere Firmware",
  runsUnreadable: "etwas, das sich nicht lesen ließ",
  willBe: "Danach",
  target: "Ziel",
  targetsFit: "Mehrere Ziele passen zu diesem Chip. Welches Board ist es?",
  settings: "Einstellungen",
  keep: "Einstellungen behalten",
  keepHint: "WLAN, Namen und gespeicherte Daten bleiben, wie sie sind.",
  keepSome: "Was unten nicht genannt ist, bleibt, wie es ist.",
  keepNot: "Geht hier nicht: sie würden überschrieben, oder niemand weiß, wo sie liegen.",
  erase: "Alles löschen",
  eraseHint: "Das Board startet wie neu.",
  eraseOnly: "Auf diesem Board ist nichts zu verlieren. Es wird zuerst ganz gelöscht.",
  lostTitle: "Das geht verloren",
  lostAll: "Alles, was auf dem Board ist: Firmware, Einstellungen, gespeicherte Daten.",
  lost: {
    moved: (name) => `${name}: liegt in dieser Version an anderer Stelle`,
    resized: (name) => `${name}: hat in dieser Version eine andere Größe`,
    removed: (name) => `${name}: gibt es in dieser Version nicht`,
    overwritten: (name) => `${name}: wird überschrieben`,
  },
  warnings: {
    "table-changed": "Diese Version teilt den Flash anders auf als die auf dem Board.",
    "older-than-min-from": (minFrom, now) =>
      `Diese Version versteht Einstellungen ab ${minFrom}; auf dem Board ist ${now}. Lösche alles, oder installiere ` +
      `zuerst ${minFrom}.`,
    downgrade: (now) => 
      `Diese Version ist älter als ${now} auf dem Board. Neuere Einstellungen versteht sie vielleicht nicht.`,
    prerelease: "Das ist eine Vorabversion zum Testen.",
    yanked: (reason) =>
      reason ? `Diese Version wurde zurückgezogen: ${reason}` : "Diese Version wurde zurückgezogen.",
    "app-running-other-project":
      "Die Einstellungen auf diesem Board sind von einer anderen Firmware. Diese versteht sie vielleicht nicht.",
    "psram-unknown": "Der Chip verrät nicht, ob er PSRAM hat. Vergewissere dich, dass dein Board es hat.",
  },
  same: (version) =>
    `${version} ist schon auf diesem Board. Noch einmal installieren repariert, was beschädigt sein mag.`,
  installVersion: (version) => `${version} installieren`,

  workTitle: (version) => `${version} wird installiert`,
  workLead: "Lass das Kabel stecken und diesen Tab offen.",
  steps: { download: "Laden", erase: "Löschen", write: "Schreiben", verify: "Prüfen" },
  stepsNow: {
    download: "Dateien werden geladen und geprüft",
    erase: "Das Board wird gelöscht",
    write: "Es wird geschrieben",
    verify: "Das Geschriebene wird zurückgelesen",
  },
  progress: "Fortschritt",
  parts: {
    bootloader: "Bootloader",
    "partition-table": "Partitionstabelle",
    otadata: "Startauswahl",
    app: "App",
  },
  left: (time) => `noch ${time}`,
  stepOf: (step, percent) => `${step}: ${percent}`,
  stopTitle: "Installation abbrechen?",
  stopText:
    "Auf dem Board bleibt eine halbe Firmware, und es startet erst nach erneutem Installieren. Schaden nimmt es nicht.",
  stopEarly: "Noch wurde nichts geschrieben. Das Board bleibt, wie es ist.",
  stop: "Installation abbrechen",
  goOn: "Weiter installieren",
  stopping: "Wird abgebrochen …",

  doneTitle: "Fertig",
  doneLead: (version) => `${version} ist auf deinem Board, zurückgelesen und geprüft.`,
  doneSilent: 
    "Ob die Firmware läuft, war nicht zu hören. Wenn nicht, drücke einmal die Taste RESET (oder EN) des Boards.",
  another: "Auf einem weiteren Board installieren",
  openDevice: "Seite des Geräts öffnen",
  wifi: "WLAN",
  wifiLooking: "Das Board wird gefragt, ob es WLAN möchte …",
  wifiNone:
    "Das Board bot nicht an, WLAN über USB einzurichten. Vielleicht braucht es noch einen " +
    "Moment, oder es richtet sein Netz auf andere Weise ein.",
  wifiAgain: "Noch einmal fragen",
  wifiReady: (device) => (device ? `Verbinde ${device} mit deinem Netz.` : "Verbinde das Board mit deinem Netz."),
  wifiStopped: "Das Board nimmt im Moment keine WLAN-Daten an.",
  wifiScanning: "Netze werden gesucht …",
  wifiNoScan: "Das Board kann keine Netze auflisten. Gib den Namen deines Netzes ein.",
  wifiNetwork: "Netz",
  wifiOther: "Anderes Netz …",
  wifiName: "Name des Netzes (SSID)",
  wifiSecured: "gesichert",
  wifiStrength: ["schwach", "mäßig", "gut", "sehr gut"],
  wifiRescan: "Noch einmal suchen",
  password: "Passwort",
  showPassword: "Passwort zeigen",
  wifiConnect: "Verbinden",
  wifiConnecting: (name) => `Verbindung mit ${name} …`,
  wifiOnline: (name) => (name ? `Mit ${name} verbunden.` : "Das Board ist verbunden."),
  wifiChange: "Anderes Netz nehmen",
  wifiRefused: "Das Board kam nicht ins Netz. Prüfe das Passwort; viele Boards kennen nur Netze mit 2,4 GHz.",
  wifiTimeout: "Das Board antwortete nicht rechtzeitig. Ist das Netz in Reichweite? Versuche es noch einmal.",
  wifiFailed: "Das Board nahm die Daten nicht an. Versuche es noch einmal.",
  wifiTooLong: "Namen dürfen höchstens 32, Passwörter höchstens 64 Byte haben.",
  console: "Serielle Konsole",
  consoleLead: "Was das Board ausgibt, mit 115200 Baud.",
  consoleEmpty: "Noch nichts. Nach „Board neu starten“ geben die meisten Boards etwas aus.",
  consoleReset: "Board neu starten",
  consoleClear: "Leeren",
  consoleSave: "Als Text herunterladen",
  consoleFollow: "Zur neuesten Zeile",
  consoleLost: "Die Verbindung zum Board ist beendet.",
  consoleReconnect: "Wieder verbinden",
  consoleDropped: (n) => `${n} ältere Zeilen fehlen`,

  detail: "Technische Einzelheiten",
  bootPicture: "Ein Board mit zwei Tasten. 1: BOOT halten. 2: RESET einmal drücken. 3: BOOT loslassen.",
  otherVersion: "Andere Version wählen",
  newBoard: "Anderes Board verbinden",
  failures: {
    "no-web-serial": () => ({
      title: "Dieser Browser kann nicht über USB installieren",
      why: "Ihm fehlt Web Serial, womit eine Seite mit einem USB-Anschluss spricht.",
      steps: [
        "Öffne diese Seite an einem Computer in Chrome, Edge oder Opera, oder in Firefox ab Version 151.",
        "Oder installiere mit einem Befehl im Terminal: er schreibt dieselben Dateien.",
      ],
    }),
    "insecure-context": () => ({
      title: "Diese Seite wurde nicht sicher geöffnet",
      why: "An USB-Anschlüsse lassen Browser nur Seiten, die über https:// oder von diesem Computer kamen.",
      steps: ["Öffne die Seite unter ihrer https://-Adresse.", "Oder installiere mit einem Befehl im Terminal."],
    }),
    "no-port": () => ({
      title: "Kein Anschluss gewählt",
      why: "Die Liste des Browsers wurde ohne Wahl geschlossen. Vielleicht stand dein Board nicht darin.",
      steps: [
        "Nimm zuerst ein anderes USB-Kabel: viele laden nur, und dann steht das Board nicht in der Liste.",
        "Stecke das Board direkt an den Computer, ohne Hub, und achte darauf, ob eine neue Zeile erscheint.",
        "Wenn nicht, installiere den Treiber für den USB-Chip des Boards: CP210x von Silicon Labs oder CH340 von WCH.",
        "Unter Linux muss dein Benutzer in der Gruppe dialout sein (Arch: uucp). Melde dich danach neu an.",
      ],
    }),
    "port-busy": () => ({
      title: "Der Anschluss ließ sich nicht öffnen",
      why: "Meist benutzt ihn ein anderes Programm, und das kann nur eines zugleich.",
      steps: [
        "Schließe serielle Monitore, die Arduino IDE, andere Flash-Programme und andere Tabs mit dieser Seite.",
        "Zieh das Board ab, steck es wieder an und versuche es noch einmal.",
        "Unter Linux muss dein Benutzer in der Gruppe dialout sein (Arch: uucp). Melde dich danach neu an.",
      ],
    }),
    silent: () => ({
      title: "Das Board sagt nichts",
      why: "Der Anschluss ist offen, aber vom Board kam kein einziges Byte.",
      steps: [
        "Hat das Board Strom? Leuchtet etwas darauf?",
        "Vielleicht gehört der Anschluss zu etwas anderem. Wähle einen anderen.",
        "Nimm ein anderes USB-Kabel und keinen Hub.",
        "Starte den Lader von Hand: BOOT halten, RESET einmal drücken, BOOT loslassen. Versuche es dann noch einmal.",
      ],
    }),
    "not-in-download-mode": () => ({
      title: "Das Board ist nicht im Download-Modus",
      why: "Es lebt, aber sein Lader antwortete nicht. Bei manchen Boards starten ihn nur die Tasten.",
      steps: [
        "Halte die Taste BOOT (auch IO0, FLASH oder 0).",
        "Drücke einmal RESET (auch EN oder RST). Gibt es die Taste nicht, stecke das Board mit gehaltener " +
          "BOOT-Taste neu an.",
        "Lass BOOT los und versuche es noch einmal.",
      ],
    }),
    noise: () => ({
      title: "Die Verbindung ist zu stark gestört",
      why: "Antworten des Boards kommen immer wieder verstümmelt an, auch bei der kleinsten Geschwindigkeit.",
      steps: [
        "Nimm ein anderes, kurzes USB-Kabel.",
        "Stecke es direkt an den Computer, ohne Hub.",
        "Löse alles, was sonst noch an den Pins TX und RX des Boards hängt.",
      ],
    }),
    unplugged: () => ({
      title: "Das Board wurde abgezogen",
      why: "Die Verbindung endete mitten in der Arbeit. Das schadet nicht auf Dauer: erneutes Installieren behebt es.",
      steps: [
        "Stecke das Board wieder an und versuche es noch einmal.",
        "Wenn es niemand berührt hat, nimm ein anderes Kabel oder eine andere Buchse. Zu wenig Strom wirkt genauso.",
      ],
    }),
    "unknown-chip": () => ({
      title: "Dieser Chip ist hier nicht bekannt",
      why: "Etwas hat geantwortet, aber kein Chip, den diese Seite kennt. Es wurde nichts geschrieben.",
      steps: [
        "Prüfe, ob du den Anschluss eines ESP32-Boards gewählt hast.",
        "Wenn ja, ist der Chip neuer als diese Seite. Nimm die Befehle unter „Downloads“.",
      ],
    }),
    "wrong-chip": (f) => ({
      title: "Für dieses Board ist hier nichts dabei",
      why:
        {
          "flash-size":
            `${f["version"] ?? "Diese Version"} braucht mehr Flash, als dieser ${f["chip"] ?? "Chip"} hat ` +
            `(${f["flash"] ?? "?"}).`,
          psram: `${f["version"] ?? "Diese Version"} braucht mehr PSRAM, als dieser ${f["chip"] ?? "Chip"} hat.`,
          "no-parts":
            `${f["version"] ?? "Diese Version"} hat für ${f["chip"] ?? "diesen Chip"} nur Aktualisierungen, nichts ` +
            `für den Anfang.`,
          chip:
            `${f["version"] ?? "Diese Version"} ist für ${f["chips"] ?? "andere Chips"}, und das hier ist ein ` +
            `${f["chip"] ?? "anderer"}.`,
        }[f["reason"] ?? "chip"] ?? "",
      steps: [
        "Wähle eine andere Version oder einen anderen Kanal.",
        "Oder verbinde ein anderes Board. Dieses blieb unverändert.",
      ],
    }),
    "old-chip": (f) => ({
      title: "Diese Firmware ist für eine andere Revision des Chips",
      why:
        `Der Chip auf diesem Board hat die Revision ${f["found"] ?? "?"}. Diese Version läuft nur auf ` +
        (f["most"] === undefined ? `Revision ${f["least"] ?? "?"} und neuer` : `Revision ${f["most"]} und älter`) +
        " und würde hier nicht starten. Es wurde nichts geschrieben.",
      steps: [
        "Wähle eine andere Version: sie kann auch für diese Revision gebaut sein.",
        "Oder nimm ein Board mit einer anderen Revision des Chips.",
      ],
    }),
    "no-flash": () => ({
      title: "Der Flash dieses Boards antwortet nicht",
      why:
        "Der Chip ist in Ordnung, aber der Speicher für seine Firmware verriet nicht, was er ist. Nach einem " +
        "abgebrochenen Löschen kann er einige Minuten beschäftigt sein. Es wurde nichts geschrieben.",
      steps: [
        "Warte eine Minute und versuche es noch einmal.",
        "Stecke das Board ab und wieder an und versuche es noch einmal.",
        "Löse alles, was sonst noch mit dem Board verbunden ist: manche Pins führen zum Flash.",
        "Misslingt es jedes Mal, ist der Flash dieses Boards defekt.",
      ],
    }),
    "secure-download": () => ({
      title: "Dieser Chip ist verschlossen",
      why:
        "Er ist für immer im sicheren Download-Modus. Er lässt niemanden lesen, was auf ihm ist, darum wurde nichts " +
        "geschrieben.",
      steps: [
        "Frage die Leute, die den Chip eingerichtet haben, wie er neue Firmware bekommt.",
        "Läuft diese Firmware schon darauf, kann er sich weiter über das Netz aktualisieren.",
        "Oder nimm ein anderes Board.",
      ],
    }),
    "secure-boot": () => ({
      title: "Dieser Chip startet nur signierte Firmware",
      why:
        "Secure Boot ist für immer eingeschaltet. Die Firmware von hier ist nicht mit dem Schlüssel dieses Chips " +
        "signiert und würde nicht starten, darum wurde nichts geschrieben.",
      steps: [
        "Frage die Leute, die den Chip eingerichtet haben, wie er neue Firmware bekommt.",
        "Läuft diese Firmware schon darauf, kann er sich weiter über das Netz aktualisieren.",
        "Oder nimm ein anderes Board.",
      ],
    }),
    "flash-encrypted": () => ({
      title: "Der Flash dieses Chips ist verschlüsselt",
      why:
        "Er startet nur Firmware, die für genau diesen Chip verschlüsselt ist. Die von hier würde nicht starten, " +
        "darum wurde nichts geschrieben.",
      steps: [
        "Frage die Leute, die den Chip eingerichtet haben, wie er neue Firmware bekommt.",
        "Läuft diese Firmware schon darauf, kann er sich weiter über das Netz aktualisieren.",
        "Oder nimm ein anderes Board.",
      ],
    }),
    "download-missing": (f) => ({
      title: "Eine Datei dieser Version fehlt",
      why: `${f["file"] ?? "Eine der Dateien"} ließ sich von dieser Seite nicht laden. Das Board blieb unverändert.`,
      steps: [
        "Versuche es in ein paar Minuten wieder: vielleicht wird die Seite gerade veröffentlicht.",
        "Wähle eine andere Version.",
        "Wenn es so bleibt, melde es dem Projekt.",
      ],
    }),
    "download-tampered": (f) => ({
      title: "Eine Datei ist nicht, was sie sein sollte",
      why:
        `${f["file"] ?? "Eine der Dateien"} ist nicht die veröffentlichte: ihr SHA-256 ist anders. Sie wurde nicht ` +
        `geschrieben.`,
      steps: [
        "Versuche es noch einmal: alle Dateien werden neu geholt.",
        "Versuche es in einem anderen Netz: manche verändern, was sie übertragen.",
        "Wenn es so bleibt, installiere nicht, und melde es dem Projekt.",
      ],
    }),
    offline: () => ({
      title: "Diese Seite ist nicht erreichbar",
      why: "Die Dateien der Firmware ließen sich nicht laden. Das Board blieb unverändert.",
      steps: [
        "Prüfe die Netzverbindung dieses Computers.",
        "Versuche es dann noch einmal: das Board kann stecken bleiben.",
      ],
    }),
    "erase-failed": () => ({
      title: "Das Board ließ sich nicht löschen",
      why: "Der Flash-Chip meldete nicht, dass er gelöscht ist.",
      steps: [
        "Versuche es noch einmal: manchmal genügt das.",
        "Nimm eine andere USB-Buchse oder ein anderes Kabel. Löschen braucht den meisten Strom.",
        "Wenn es jedes Mal scheitert, ist der Flash des Boards schreibgeschützt oder defekt.",
      ],
    }),
    "write-failed": (f) => ({
      title: "Das Schreiben ist gescheitert",
      why: `Das Board nahm ${f["part"] ? `„${f["part"]}“` : "die Firmware"} nicht ganz an. So startet es nicht.`,
      steps: [
        "Versuche es noch einmal: was schon geschrieben ist, wird nicht doppelt geschrieben.",
        "Nimm ein anderes USB-Kabel oder eine andere Buchse, und keinen Hub.",
        "Wenn es immer an derselben Stelle scheitert, ist der Flash des Boards defekt.",
      ],
    }),
    "verify-mismatch": (f) => ({
      title: "Auf dem Board steht etwas anderes, als gesendet wurde",
      why:
        `Beim Zurücklesen von ${f["part"] ? `„${f["part"]}“` : "der Firmware"} kamen andere Bytes. Benutze das Board ` +
        `so nicht.`,
      steps: [
        "Versuche es noch einmal: nur was abweicht, wird neu geschrieben.",
        "Nimm ein anderes USB-Kabel oder eine andere Buchse, und keinen Hub.",
        "Wenn es so bleibt, ist der Flash des Boards abgenutzt oder kleiner, als er angibt.",
      ],
    }),
    cancelled: (f) => ({
      title: "Du hast die Installation abgebrochen",
      why: f["written"]
        ? "Auf dem Board ist jetzt eine halbe Firmware. Es startet erst, wenn du wieder installierst."
        : "Es wurde nichts geschrieben. Das Board ist, wie es war.",
      steps: ["Versuche es noch einmal, wann du willst."],
    }),
    unknown: () => ({
      title: "Etwas ist schiefgegangen",
      why: "Damit hat diese Seite nicht gerechnet.",
      steps: [
        "Zieh das Board ab, steck es an und versuche es noch einmal.",
        "Geschieht es wieder, kopiere die technischen Einzelheiten und schicke sie den Leuten des Projekts.",
      ],
    }),
  },
};

const LANGUAGES: Record<Language, Words> = { en, de };

/** The languages that there are, as they call themselves. */
export const LANGUAGE_NAMES: Record<Language, string> = { en: "English", de: "Deutsch" };

/** What a part is called; a name that nothing here knows, such as a partition's label, is left as it is. */
export function partName({ parts }: Words, part: string): string {
  return (Object.hasOwn(parts, part) ? parts[part] : null) ?? part;
}

/** The words of a language. */
export function words(language: Language): Words {
  return LANGUAGES[language];
}

/** Picks the language that was asked for by the address, else the first of the reader's that there is. */
export function pickLanguage(asked: string | null, preferred: readonly string[]): Language {
  const known = (tag: string): Language | null => {
    const name = tag.toLowerCase().split("-")[0] ?? "";
    return name === "en" || name === "de" ? name : null;
  };
  return [asked ?? "", ...preferred].map(known).find((language) => language !== null) ?? "en";
}
