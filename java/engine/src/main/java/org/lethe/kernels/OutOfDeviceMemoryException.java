package org.lethe.kernels;

import java.util.List;

/**
 * The device has no room for a tensor or a kernel's workspace; carries the table of what is on it.
 */
public final class OutOfDeviceMemoryException extends DeviceException {
  private static final long serialVersionUID = 1L;

  /**
   * One line of the memory table.
   *
   * @param name the tensor's name
   * @param bytes what it takes
   */
  public record Allocation(String name, long bytes) implements java.io.Serializable {}

  private final List<Allocation> allocations;

  OutOfDeviceMemoryException(String what, List<Allocation> allocations) {
    super(Status.OUT_OF_MEMORY, message(what, allocations));
    this.allocations = List.copyOf(allocations);
  }

  /** What was allocated when memory ran out, largest first. */
  public List<Allocation> allocations() {
    return allocations;
  }

  private static String message(String what, List<Allocation> allocations) {
    var text = new StringBuilder(what).append("; allocated:");
    for (Allocation a : allocations) {
      text.append("%n  %,16d  %s".formatted(a.bytes(), a.name()));
    }
    long total = allocations.stream().mapToLong(Allocation::bytes).sum();
    return text.append("%n  %,16d  in total".formatted(total)).toString();
  }
}
