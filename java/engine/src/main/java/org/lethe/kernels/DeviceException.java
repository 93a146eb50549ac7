package org.lethe.kernels;

/** A native call failed. The message names the operation, its shapes, and what the device said. */
public class DeviceException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** What kind of failure it was: the status codes of {@code lethe.h}. */
  public enum Status {
    INVALID_ARGUMENT,
    OUT_OF_MEMORY,
    UNSUPPORTED,
    DEVICE_ERROR,
    /** The device is of no use any more: every later call on it fails with the first failure. */
    DEVICE_LOST;

    static Status of(int code) {
      return code >= 1 && code <= values().length ? values()[code - 1] : DEVICE_ERROR;
    }
  }

  private final Status status;

  /**
   * @param status the kind of failure
   * @param message what was asked, what was found, what to do
   */
  public DeviceException(Status status, String message) {
    super(message);
    this.status = status;
  }

  /** The kind of failure. */
  public Status status() {
    return status;
  }
}
