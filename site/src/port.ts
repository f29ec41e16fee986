// What every line over a Web Serial port needs, whether the ROM's loader or
// firmware is at its end.

import { sleep } from "./pause";

/**
 * In bytes. The default of 255 overflows while the page is busy. It is also
 * the most that one write may have under way.
 */
export const BUFFER_SIZE = 0x8000;

/**
 * Restarts a board into its firmware: EN is pulled while IO0 is left alone.
 * The chip's own USB takes the same as a reset. Fails on a port that is closed
 * or gone.
 */
export async function resetIntoFirmware(port: SerialPort): Promise<void> {
  const pull = async (requestToSend: boolean): Promise<void> => {
    await port.setSignals({ dataTerminalReady: false, requestToSend });
    // usbser.sys of Windows sends RTS only along with DTR.
    await port.setSignals({ dataTerminalReady: false });
  };
  await pull(true);
  await sleep(100);
  await pull(false);
}
