package org.lethe.kernels;

import java.util.List;

/** The device has no room for a tensor; carries the table of what is allocated on it. */
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

  OutOfDeviceMemoryException(String name, long bytes, List<Allocation> allocations) {
    super(Status.OUT_OF_MEMORY, message(name, bytes, allocations));
    this.allocations = List.copyOf(allocations);
  }

  /** What was allocated when memory ran out, largest first. */
  public List<Allocation> allocations() {
    return allocations;
  }

  private static String message(String name, long bytes, List<Allocation> allocations) {
    var text = new StringBuilder("no room for '%s' (%,d bytes); allocated:".formatted(name, bytes));
    for (Allocation a : allocations) {
      text.append("%n  %,16d  %s".formatted(a.bytes(), a.name()));
    }
    long total = allocations.stream().mapToLong(Allocation::bytes).sum();
    return text.append("%n  %,16d  in total".formatted(total)).toString();
  }
}
