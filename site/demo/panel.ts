// The panel beside the page: which board there is, and what goes wrong on it.

import type { Board } from "./demo";
import type { Faults, Setup } from "./link";

/** What can go wrong: words, faults, and what of the board is burned. */
const TROUBLES: readonly (readonly [string, Faults, Partial<Setup>?])[] = [
  ["nothing", {}],
  ["another program has the port", { busy: true }],
  ["the chip is silent", { silent: true }],
  ["reset lines are not wired", { no_reset: true }],
  ["garbage above 115200 baud", { max_baud: 115200 }],
  ["every 40th frame is lost", { dropped_frame: 40 }],
  ["every 30th answer is garbled", { corrupt_reply: 30 }],
  ["a bit of the flash is stuck", { corrupt_block: 2 }],
  ["the flash cannot be erased", { erase_fails_at: 0x10000 }],
  ["the cable is pulled half-way", { unplugged_after: 60000 }],
  ["secure download mode is burned", {}, { secure_download: true }],
  ["secure boot is burned", {}, { secure_boot: true }],
  ["flash encryption is burned", {}, { encrypted: true }],
];

const CHIPS = [
  ["esp32", "ESP32"],
  ["esp32c2", "ESP32-C2"],
  ["esp32c3", "ESP32-C3"],
  ["esp32c6", "ESP32-C6"],
  ["esp32s3", "ESP32-S3"],
] as const;

const STYLE = `
  .towline-demo {
    position: fixed; inset: auto 0.75rem 0.75rem auto; z-index: 1000; max-width: min(19rem, calc(100vw - 1.5rem));
    box-sizing: border-box; padding: 0.5rem 0.75rem; border: 1px solid #59636e; border-radius: 0.5rem;
    background: #fff; color: #1f2328; font: 0.8125rem/1.4 system-ui, sans-serif; text-align: start;
    box-shadow: 0 2px 8px rgb(0 0 0 / 0.25);
  }
  .towline-demo summary { cursor: pointer; font-weight: 600; min-height: 1.5rem; }
  .towline-demo label { display: grid; grid-template-columns: 7rem 1fr; align-items: center; margin-top: 0.375rem; }
  .towline-demo .row { display: flex; gap: 0.5rem; margin-top: 0.5rem; }
  .towline-demo select, .towline-demo button {
    font: inherit; color: inherit; background: #f6f8fa; border: 1px solid #59636e; border-radius: 0.25rem;
    padding: 0.1875rem 0.5rem; min-height: 1.75rem; min-width: 0;
  }
  .towline-demo input { justify-self: start; width: 1.25rem; height: 1.25rem; margin: 0; }
  .towline-demo :focus-visible { outline: 2px solid #0969da; outline-offset: 1px; }
  .towline-demo p { margin: 0.5rem 0 0; }
  @media (prefers-color-scheme: dark) {
    .towline-demo { background: #151b23; color: #f0f6fc; border-color: #9198a1; }
    .towline-demo select, .towline-demo button { background: #212830; border-color: #9198a1; }
    .towline-demo :focus-visible { outline-color: #4493f8; }
  }
  @media print { .towline-demo { display: none; } }
`;

function labelled<T extends HTMLElement>(text: string, control: T): T {
  const label = document.createElement("label");
  label.append(text, control);
  return control;
}

function choice(options: readonly (readonly [string, string])[], value: string): HTMLSelectElement {
  const select = document.createElement("select");
  for (const [value, text] of options) select.append(new Option(text, value));
  select.value = value;
  return select;
}

function button(text: string, press: () => void): HTMLButtonElement {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.addEventListener("click", press);
  return button;
}

/** Shows the panel at the lower edge of the page. */
export function showPanel(board: Board, serial: EventTarget): void {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  document.adoptedStyleSheets.push(sheet);

  const { setup } = board;
  const status = document.createElement("p");
  status.setAttribute("role", "status");
  const say = (text: string): void => {
    status.textContent = text;
  };
  const act = (job: () => Promise<void>, done: string): void => {
    void job()
      .then(
        () => say(done),
        (error: unknown) => say(error instanceof Error ? error.message : String(error)),
      )
      .finally(tellCable);
  };

  const sizes = ["2MB", "4MB", "8MB", "16MB"].map((size) => [size, size.replace("MB", " MB")] as const);
  const psrams = [["0", "none"], ["2MB", "2 MB"], ["8MB", "8 MB"]] as const;
  const chip = labelled("Chip", choice(CHIPS, setup.chip));
  const flash = labelled("Flash", choice(sizes, setup.flash));
  const psram = labelled("PSRAM", choice(psrams, setup.psram));
  const wirings = [["bridge", "a USB bridge"], ["usb", "the chip's own USB"]] as const;
  const wiring = labelled("Connected by", choice(wirings, setup.wiring));
  const trouble = labelled(
    "Goes wrong",
    choice(
      TROUBLES.map(([words], index) => [String(index), words] as const),
      "0",
    ),
  );
  const paced = labelled("Real speed", document.createElement("input"));
  paced.type = "checkbox";
  paced.checked = setup.paced;
  const held = labelled("BOOT is held", document.createElement("input"));
  held.type = "checkbox";
  held.checked = setup.held;

  const burned = (): Partial<Setup> => TROUBLES[Number(trouble.value)]?.[2] ?? {};
  const replace = async (): Promise<void> => {
    await board.use({
      secure_download: false,
      secure_boot: false,
      encrypted: false,
      ...burned(),
      chip: chip.value,
      flash: flash.value,
      psram: psram.value,
      wiring: wiring.value === "usb" ? "usb" : "bridge",
      paced: paced.checked,
      held: held.checked,
    });
    await board.faults(TROUBLES[Number(trouble.value)]?.[1] ?? {});
  };
  for (const control of [chip, flash, psram, wiring, paced]) {
    control.addEventListener("change", () => act(replace, "Another board is connected; its flash is blank."));
  }
  let wasBurned = false;
  trouble.addEventListener("change", () => {
    const isBurned = Object.keys(burned()).length > 0;
    if (isBurned || wasBurned) act(replace, "Another board is connected; its flash is blank.");
    else act(() => board.faults(TROUBLES[Number(trouble.value)]?.[1] ?? {}), "It is so from now on.");
    wasBurned = isBurned;
  });
  held.addEventListener("change", () =>
    act(() => board.boot(held.checked), held.checked ? "BOOT is held: reset now." : "BOOT is released."),
  );

  const cable = button("Pull the cable", () => {
    const isIn = board.connected;
    act(() => board.plug(!isIn), isIn ? "The cable is pulled." : "The cable is plugged in.");
  });
  const tellCable = (): void => {
    cable.textContent = board.connected ? "Pull the cable" : "Plug the cable in";
  };
  serial.addEventListener("connect", tellCable);
  serial.addEventListener("disconnect", tellCable);
  const buttons = document.createElement("div");
  buttons.className = "row";
  buttons.append(
    button("RESET", () => act(() => board.reset(), "The board was reset.")),
    cable,
  );

  const summary = document.createElement("summary");
  summary.textContent = "Emulated board";
  const details = document.createElement("details");
  details.append(summary);
  for (const control of [chip, flash, psram, wiring, trouble, paced, held]) {
    if (control.parentElement) details.append(control.parentElement);
  }
  details.append(buttons, status);
  const panel = document.createElement("aside");
  panel.className = "towline-demo";
  panel.setAttribute("aria-label", "Emulated board");
  panel.append(details);
  document.body.append(panel);
  followDialogs(panel);
}

/** Keeps the panel within reach: a modal dialog bars everything outside it. */
function followDialogs(panel: HTMLElement): void {
  const follow = (): void => {
    const home = [...document.querySelectorAll<HTMLDialogElement>("dialog:modal")].at(-1) ?? document.body;
    if (panel.parentElement !== home) home.append(panel);
  };
  const observer = new MutationObserver(follow);
  observer.observe(document.body, { attributes: true, attributeFilter: ["open"], childList: true, subtree: true });
}
