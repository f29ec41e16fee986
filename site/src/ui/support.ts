// Whether this browser can reach a USB port, and why not.

import type { FailureCode } from "../failure";

export type Obstacle = Extract<FailureCode, "no-web-serial" | "insecure-context">;

/** What keeps this browser from installing, or null. */
export function obstacle(): Obstacle | null {
  if (!window.isSecureContext) return "insecure-context";
  return "serial" in navigator ? null : "no-web-serial";
}

/** Whether this is a phone or a tablet; iPads call themselves Macs, but have touch screens. */
export function handheld(): boolean {
  const agent = navigator.userAgent;
  return /Android|iPhone|iPad|Mobile/.test(agent) || (agent.includes("Macintosh") && navigator.maxTouchPoints > 1);
}
