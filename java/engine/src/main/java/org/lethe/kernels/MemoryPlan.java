package org.lethe.kernels;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Tensors laid out one after another in a single allocation, decided before anything is allocated:
 * what {@link #bytes} says is what {@link #allocate} takes.
 */
public final class MemoryPlan {
  /** Tensors start at multiples of this many bytes: a cache line, an AVX-512 register. */
  private static final long ALIGNMENT = 64;

  /**
   * A tensor in the plan.
   *
   * @param offset its first byte
   */
  public record Entry(String name, DType dtype, List<Long> shape, long offset, long bytes) {}

  private final String name;
  private final Map<String, Entry> entries = new LinkedHashMap<>();
  private long end;

  /**
   * An empty plan.
   *
   * @param name what the allocation is called in memory tables
   */
  public MemoryPlan(String name) {
    this.name = name;
  }

  /** Adds a tensor; names are unique. */
  public MemoryPlan add(String tensor, DType dtype, long... shape) {
    long bytes = Math.multiplyExact(Tensor.elements(shape), dtype.bytes());
    var sizes = new ArrayList<Long>();
    for (long size : shape) {
      sizes.add(size);
    }
    if (entries.putIfAbsent(
            tensor, new Entry(tensor, dtype, Collections.unmodifiableList(sizes), end, bytes))
        != null) {
      throw new IllegalArgumentException("'" + tensor + "' is in plan '" + name + "' already");
    }
    end = Math.addExact(end, Math.ceilDiv(bytes, ALIGNMENT) * ALIGNMENT);
    return this;
  }

  /** What the allocation is called. */
  public String name() {
    return name;
  }

  /** Bytes the whole plan takes. */
  public long bytes() {
    return end;
  }

  /** Its tensors, in the order they were added. */
  public List<Entry> entries() {
    return List.copyOf(entries.values());
  }

  /** Allocates the plan; the arena owns the memory. */
  public Arena allocate(Device device) {
    return new Arena(this, device.allocate(name, DType.BYTE, end));
  }

  /** An allocated plan: its tensors by name. Closing it frees them all. */
  public static final class Arena implements AutoCloseable {
    private final String plan;
    private final Tensor memory;
    private final Map<String, Tensor> tensors = new HashMap<>();

    private Arena(MemoryPlan plan, Tensor memory) {
      this.plan = plan.name;
      this.memory = memory;
      for (Entry e : plan.entries.values()) {
        long[] shape = e.shape.stream().mapToLong(Long::longValue).toArray();
        tensors.put(e.name, memory.cast(e.name, e.dtype, e.offset, shape));
      }
    }

    /** The tensor of that name. */
    public Tensor get(String tensor) {
      Tensor found = tensors.get(tensor);
      if (found == null) {
        throw new IllegalArgumentException("'" + tensor + "' is not in plan '" + plan + "'");
      }
      return found;
    }

    /** Frees the memory; what {@link #get} gave is closed. */
    @Override
    public void close() {
      tensors.values().forEach(Tensor::close);
      memory.close();
    }
  }
}
