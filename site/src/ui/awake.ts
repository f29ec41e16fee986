// The screen stays on while a board is written: a computer that falls asleep
// cuts its USB ports off.

/** Keeps the screen on until what is returned is called. */
export function stayAwake(): () => void {
  let lock: WakeLockSentinel | null = null;
  let over = false;
  // A browser takes the lock back whenever the tab is hidden.
  const ask = async (): Promise<void> => {
    if (document.hidden) return;
    const got = (await navigator.wakeLock?.request("screen").catch(() => null)) ?? null;
    if (over) void got?.release();
    else lock = got;
  };
  document.addEventListener("visibilitychange", ask);
  void ask();
  return () => {
    over = true;
    document.removeEventListener("visibilitychange", ask);
    void lock?.release();
  };
}
