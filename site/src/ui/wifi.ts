// Wi-Fi set-up over the serial line, by Improv. A board that does not know it
// is not at fault: the panel says so and stays out of the way.

import type { ImprovSerial, Ssid } from "improv-wifi-serial-sdk/dist/serial.js";
import type { ImprovPort } from "../line";
import { button, freshId, h } from "./dom";
import { lockDrawing, strengthDrawing } from "./drawings";
import type { Setting } from "./setting";

/** Time to boot and answer, in milliseconds. */
const PATIENCE = 10_000;
const JOIN_PATIENCE = 60_000;
const STOPPED = 0;
const PROVISIONED = 4;
const SILENT = { log: () => undefined, error: () => undefined, debug: () => undefined };
/** What a packet has room for, in bytes. */
const LONGEST = { name: 32, password: 64 };

/** The address that a board tells of its own page, if a browser should follow it. */
export function devicePage(text: string | undefined): string | null {
  try {
    const url = new URL(text ?? "");
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

/** How strong a signal is, from 0 to 3. */
export function strength(rssi: number): number {
  return rssi >= -55 ? 3 : rssi >= -67 ? 2 : rssi >= -78 ? 1 : 0;
}

/** The networks by name, each once with its best signal, the strongest first. */
export function sortNetworks(found: readonly Ssid[]): Ssid[] {
  const best = new Map<string, Ssid>();
  for (const network of found) {
    if (network.name && network.rssi >= (best.get(network.name)?.rssi ?? -Infinity)) best.set(network.name, network);
  }
  return [...best.values()].sort((a, b) => b.rssi - a.rssi);
}

export class Wifi {
  readonly element: HTMLElement;
  private readonly body = h("div", { class: "wifi-body" });
  private readonly status = h("p", { class: "panel-lead", role: "status" });
  private improv: ImprovSerial | null = null;
  /** Counts the looks, so that what comes of an earlier one changes nothing any more. */
  private round = 0;

  constructor(
    private readonly setting: Setting,
    private readonly port: () => ImprovPort | null,
    /** The board has answered. */
    private readonly answered: () => void,
  ) {
    const { words } = setting;
    this.element = h(
      "section",
      { class: "panel wifi", "aria-label": words.wifi },
      h("div", { class: "panel-head" }, h("h3", {}, words.wifi)),
      this.status,
      this.body,
    );
  }

  /** Asks the board for its state, and shows what can be done. */
  async look(): Promise<void> {
    const { words } = this.setting;
    this.end();
    const { round } = this;
    this.show(words.wifiLooking, h("progress", { "aria-label": words.wifiLooking }));
    const library = await import("improv-wifi-serial-sdk/dist/serial.js").catch(() => null);
    if (round !== this.round) return;
    if (!library) return this.show(words.failures.offline({}).title, this.again());
    try {
      const port = this.port();
      if (!port?.readable || !port.writable) throw new Error("the line is closed");
      const { readable } = port;
      const writable = this.writable(port.writable);
      const improv = new library.ImprovSerial({ readable, writable } as SerialPort, SILENT);
      this.improv = improv;
      await improv.initialize(PATIENCE);
      this.answered();
      if (round !== this.round) return;
      if (improv.state === PROVISIONED) this.online("");
      else if (improv.state === STOPPED) this.show(words.wifiStopped, this.again());
      else await this.scan(improv);
    } catch {
      if (round === this.round) this.show(words.wifiNone, this.again());
    }
  }

  /** Stops; what is still on its way is not shown any more. */
  end(): void {
    this.round += 1;
    void this.improv?.close().catch(() => undefined);
    this.improv = null;
  }

  /**
   * What the library writes to. It asks once a second for as long as it waits,
   * also when the board is gone, and keeps the lock of a stream that fails:
   * so this one never does, and after the look writes nothing.
   */
  private writable(line: WritableStream<Uint8Array>): WritableStream<Uint8Array> {
    const { round } = this;
    return new WritableStream({
      write: async (bytes) => {
        if (round !== this.round) return;
        try {
          const writer = line.getWriter();
          await writer.write(bytes).finally(() => writer.releaseLock());
        } catch {
          // That the line is lost is told by what reads it.
        }
      },
    });
  }

  private show(status: string, ...nodes: Node[]): void {
    this.status.textContent = status;
    this.status.classList.remove("failed");
    this.body.replaceChildren(...nodes);
  }

  private again(): HTMLElement {
    return button(this.setting.words.wifiAgain, () => void this.look(), "quiet");
  }

  private async scan(improv: ImprovSerial): Promise<void> {
    const { words } = this.setting;
    const { round } = this;
    this.show(words.wifiScanning, h("progress", { "aria-label": words.wifiScanning }));
    const found = await improv.scan().catch(() => null);
    if (round !== this.round) return;
    this.form(improv, found === null ? null : sortNetworks(found));
  }

  private form(improv: ImprovSerial, networks: Ssid[] | null): void {
    const { words } = this.setting;
    const ids = { name: freshId("ssid"), password: freshId("password") };
    const name = h("input", {
      id: ids.name,
      type: "text",
      autocomplete: "off",
      autocapitalize: "none",
      spellcheck: "false",
    });
    const nameRow = h("div", { class: "wifi-row" }, h("label", { for: ids.name }, words.wifiName), name);
    const password = h("input", {
      id: ids.password,
      type: "password",
      autocomplete: "off",
      autocapitalize: "none",
      spellcheck: "false",
    });
    const reveal = h("input", {
      type: "checkbox",
      change: () => {
        password.type = reveal.checked ? "text" : "password";
      },
    });
    const passwordRow = h(
      "div",
      { class: "wifi-row" },
      h("label", { for: ids.password }, words.password),
      password,
      h("label", { class: "wifi-reveal" }, reveal, words.showPassword),
    );
    let chosen: Ssid | null = networks?.[0] ?? null;
    const pick = (network: Ssid | null): void => {
      chosen = network;
      nameRow.hidden = network !== null;
      passwordRow.hidden = network !== null && !network.secured;
    };
    const submit = h("button", { type: "submit", class: "act primary" }, words.wifiConnect);
    const form = h(
      "form",
      {
        class: "wifi-form",
        submit: (event) => {
          event.preventDefault();
          const ssid = chosen?.name ?? name.value;
          const secret = chosen && !chosen.secured ? "" : password.value;
          if (!ssid) return name.focus();
          const bytes = (text: string): number => new TextEncoder().encode(text).length;
          if (bytes(ssid) > LONGEST.name || bytes(secret) > LONGEST.password) return this.complain(words.wifiTooLong);
          void this.join(improv, form, ssid, secret);
        },
      },
      networks && networks.length > 0 ? this.list(networks, pick) : null,
      nameRow,
      passwordRow,
      h(
        "div",
        { class: "wifi-actions" },
        submit,
        networks && button(words.wifiRescan, () => void this.scan(improv), "quiet"),
      ),
    );
    pick(chosen);
    this.show(networks === null ? words.wifiNoScan : words.wifiReady(improv.info?.name ?? ""), form);
  }

  private list(networks: readonly Ssid[], pick: (network: Ssid | null) => void): HTMLElement {
    const { words } = this.setting;
    const group = freshId("network");
    const choice = (network: Ssid | null, first: boolean): HTMLElement =>
      h(
        "label",
        { class: "wifi-network" },
        h("input", { type: "radio", name: group, checked: first, change: () => pick(network) }),
        h("span", { class: "wifi-name", dir: "auto" }, network?.name ?? words.wifiOther),
        network && network.secured && lockDrawing(words.wifiSecured),
        network && strengthDrawing(strength(network.rssi), words.wifiStrength[strength(network.rssi)] ?? ""),
      );
    return h(
      "fieldset",
      { class: "wifi-networks" },
      h("legend", {}, words.wifiNetwork),
      ...networks.map((network, at) => choice(network, at === 0)),
      choice(null, false),
    );
  }

  private complain(text: string): void {
    this.status.textContent = text;
    this.status.classList.add("failed");
  }

  private async join(improv: ImprovSerial, form: HTMLFormElement, ssid: string, secret: string): Promise<void> {
    const { words } = this.setting;
    const { round } = this;
    const fields = [...form.querySelectorAll<HTMLInputElement | HTMLButtonElement>("input, button")];
    for (const field of fields) field.disabled = true;
    this.status.classList.remove("failed");
    this.status.textContent = words.wifiConnecting(ssid);
    try {
      await improv.provision(ssid, secret, JOIN_PATIENCE);
      if (round === this.round) this.online(ssid);
    } catch (error) {
      if (round !== this.round) return;
      for (const field of fields) field.disabled = false;
      const code = String(error);
      this.complain(
        code.includes("UNABLE_TO_CONNECT")
          ? words.wifiRefused
          : code.includes("TIMEOUT")
            ? words.wifiTimeout
            : words.wifiFailed,
      );
      form.querySelector<HTMLInputElement>('input[type="password"], input[type="text"]')?.focus();
    }
  }

  private online(ssid: string): void {
    const { words } = this.setting;
    const page = devicePage(this.improv?.nextUrl);
    const improv = this.improv;
    this.show(
      words.wifiOnline(ssid),
      h(
        "div",
        { class: "wifi-actions" },
        page !== null &&
          h("a", { class: "act primary", href: page, target: "_blank", rel: "noopener noreferrer" }, words.openDevice),
        improv && button(words.wifiChange, () => void this.scan(improv), "quiet"),
      ),
    );
  }
}
