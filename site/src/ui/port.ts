// The port of a board from one plugging-in to the next. Browsers make another
// object each time, and the one before stays dead for good; a board with USB of
// its own does that to its port by restarting.

/**
 * Finds the port that stands for the same board now: the port itself, or the
 * only other one of the same maker and product. Null if the person has to
 * choose, which must be asked for in the same click.
 */
export async function presentPort(port: SerialPort): Promise<SerialPort | null> {
  const ports = (await navigator.serial.getPorts()).filter(({ connected }) => connected !== false);
  if (ports.includes(port)) return port;
  const { usbVendorId, usbProductId } = port.getInfo();
  const alike = ports.filter((other) => {
    const info = other.getInfo();
    return info.usbVendorId === usbVendorId && info.usbProductId === usbProductId;
  });
  return alike.length === 1 ? (alike[0] ?? null) : null;
}
