// Sizes, shares, times and dates as a reader of a language writes them.

import type { Language } from "../strings";

export class Numbers {
  private readonly language: string;

  /** For a language, as it is written where the reader lives: `preferred` may name the country. */
  constructor(language: Language, preferred: readonly string[] = []) {
    this.language = preferred.find((tag) => tag === language || tag.startsWith(`${language}-`)) ?? language;
  }

  /** Bytes in the largest binary unit that leaves at least one. */
  size(bytes: number): string {
    const units = ["B", "KiB", "MiB", "GiB"];
    const unit = Math.min(units.length - 1, bytes < 1024 ? 0 : Math.floor(Math.log2(bytes) / 10));
    return `${this.plain(bytes / 1024 ** unit, bytes / 1024 ** unit < 10 ? 2 : 1)} ${units[unit]}`;
  }

  /** Bytes a second. */
  rate(bytes: number): string {
    return `${this.plain(bytes / 1024, bytes < 10 * 1024 ? 1 : 0)} KiB/s`;
  }

  /** A share from 0 to 1; 100 % only when nothing is missing. */
  percent(share: number): string {
    return new Intl.NumberFormat(this.language, { style: "percent" }).format(share < 1 ? Math.min(share, 0.99) : 1);
  }

  /** Seconds, as minutes and seconds from one minute on. */
  duration(seconds: number): string {
    const whole = Math.max(1, Math.round(seconds));
    const unit = (value: number, name: "second" | "minute"): string =>
      new Intl.NumberFormat(this.language, { style: "unit", unit: name, unitDisplay: "short" }).format(value);
    if (whole < 60) return unit(whole, "second");
    const rest = whole % 60;
    return unit(Math.floor(whole / 60), "minute") + (rest ? ` ${unit(rest, "second")}` : "");
  }

  /** A day such as 2026-11-21. */
  date(day: string): string {
    const date = new Date(`${day}T00:00:00Z`);
    if (Number.isNaN(date.getTime())) return day;
    return new Intl.DateTimeFormat(this.language, { dateStyle: "long", timeZone: "UTC" }).format(date);
  }

  plain(value: number, digits = 0): string {
    return new Intl.NumberFormat(this.language, { maximumFractionDigits: digits }).format(value);
  }

  /** Several things, with the last one joined by "and" or "or". */
  list(items: readonly string[], type: "conjunction" | "disjunction" = "conjunction"): string {
    return new Intl.ListFormat(this.language, { type }).format(items);
  }
}
