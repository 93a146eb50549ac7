package org.lethe.kernels;

/**
 * Operations that {@link Device#record} took down: launched together, they cost the CPU one call.
 * The tensors they name must outlive it.
 */
public final class Graph implements AutoCloseable {
  private final Device device;
  private long handle;

  Graph(Device device, long handle) {
    this.device = device;
    this.handle = handle;
  }

  /** Does all of it, in the order it was recorded. */
  public void launch() {
    if (handle == 0) {
      throw new IllegalStateException("the graph is closed");
    }
    device.kernels().graphLaunch(handle);
  }

  /** Closing twice, or after the device, is allowed. */
  @Override
  public void close() {
    if (handle != 0 && device.isOpen()) {
      device.kernels().graphDestroy(handle);
    }
    handle = 0;
  }
}
