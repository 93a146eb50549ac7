package org.lethe.kernels;

/**
 * A moment in what a device does, for timing it by its own clock: {@link Device#event} makes one,
 * {@link #record} puts it behind all that was asked until then.
 */
public final class Event implements AutoCloseable {
  private final Device device;
  private long handle;

  Event(Device device) {
    this.device = device;
    this.handle = device.kernels().eventCreate();
  }

  /** The moment is when all that was asked of the device is done; a second call moves it. */
  public void record() {
    device.kernels().eventRecord(handle());
  }

  /**
   * Seconds of the device between two recorded moments; waits for this one.
   *
   * @throws DeviceException if one of them is not recorded
   */
  public double secondsSince(Event earlier) {
    return device.kernels().eventMilliseconds(earlier.handle(), handle()) / 1e3;
  }

  private long handle() {
    if (handle == 0) {
      throw new IllegalStateException("the event is closed");
    }
    return handle;
  }

  /** Closing twice, or after the device, is allowed. */
  @Override
  public void close() {
    if (handle != 0 && device.isOpen()) {
      device.kernels().eventDestroy(handle);
    }
    handle = 0;
  }
}
