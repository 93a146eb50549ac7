package org.lethe.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import jdk.jfr.FlightRecorder;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.json.JsonMapper;

/**
 * Something that computes: a CPU through {@code liblethe_cpu}, an NVIDIA GPU through {@code
 * liblethe_cuda}, or the GPU's own kernels on an emulator through {@code liblethe_simt}. Owns its
 * memory; closing it frees every tensor still allocated. Used by one thread at a time.
 *
 * <p>A GPU computes while Java goes on, so what fails may be reported by a later call; with the
 * system property {@code lethe.sync=true} it waits after every kernel, and the operation that is
 * named is the one that failed.
 */
public final class Device implements AutoCloseable {
  private static final List<String> NAMES = List.of("cpu", "cuda", "simt");

  private final String name;
  private final Arena arena;
  private final NativeLibrary library;
  private final Kernels kernels;
  private final Map<Long, OutOfDeviceMemoryException.Allocation> allocations =
      new LinkedHashMap<>();
  private List<OutOfDeviceMemoryException.Allocation> peak = List.of();
  private long peakBytes;
  private long handle;

  /**
   * How to open a device.
   *
   * @param threads threads that compute, for a CPU; 0 takes every core the process may run on
   * @param tier the highest instruction-set tier of a CPU to use ({@code avx2}, {@code avx512},
   *     {@code avx512_bf16}, {@code avx512_amx}), null for the machine's best
   * @param library the file of a library that implements {@code lethe.h}, to open instead of
   *     Lethe's own; null for that
   */
  public record Options(int threads, @Nullable String tier, @Nullable Path library) {
    /** All cores, the best tier, Lethe's own library. */
    public static final Options DEFAULT = new Options(0, null);

    /** With Lethe's own library. */
    public Options(int threads, @Nullable String tier) {
      this(threads, tier, null);
    }

    /** As {@code lethe_open} reads them. */
    String text(String device) {
      var parts = new ArrayList<String>();
      if (threads != 0) {
        parts.add("threads=" + threads);
      }
      if (tier != null) {
        parts.add("tier=" + tier);
      }
      if (!device.equals("cpu") && Boolean.getBoolean("lethe.sync")) {
        parts.add("sync=true");
      }
      Path cublas = device.equals("cuda") ? NativeLibrary.cublas() : null;
      if (cublas != null) {
        String encoded = URLEncoder.encode(cublas.toString(), StandardCharsets.UTF_8);
        parts.add("cublas=" + encoded.replace("+", "%20"));
      }
      return String.join(" ", parts);
    }
  }

  @SuppressWarnings("MustBeClosedChecker") // the device owns its arena and closes it
  private Device(String name, Options options) {
    this.name = name;
    this.arena = Arena.ofShared();
    try {
      library = NativeLibrary.load(name, options.library, arena);
      kernels = new Kernels(this, library);
      handle = kernels.open(options.text(name));
    } catch (RuntimeException | Error e) {
      arena.close();
      throw e;
    }
  }

  /** The devices that can be asked for. */
  public static List<String> names() {
    return NAMES;
  }

  /**
   * The name of the device that a library is for: {@code device} in its description, {@code cpu}
   * where that is not said.
   *
   * @throws DeviceException if the file is no library that implements {@code lethe.h}
   */
  public static String nameOf(Path library) {
    try (Arena arena = Arena.ofConfined()) {
      String description = NativeLibrary.load("cpu", library, arena).describe();
      return JsonMapper.shared().readTree(description).path("device").asString("cpu");
    } catch (JacksonException e) {
      throw new DeviceException(
          DeviceException.Status.DEVICE_ERROR,
          library + ": what lethe_describe writes is no JSON: " + e.getOriginalMessage());
    }
  }

  /**
   * Opens the device with all its defaults.
   *
   * @throws IllegalArgumentException if there is no device of that name; the message lists them
   * @throws DeviceException if this machine cannot run it
   */
  public static Device open(String name) {
    return open(name, Options.DEFAULT);
  }

  /** Opens the device as {@code options} say; see {@link #open(String)}. */
  public static Device open(String name, Options options) {
    if (!NAMES.contains(name)) {
      throw new IllegalArgumentException(
          "there is no device '" + name + "'; there is: " + String.join(", ", NAMES));
    }
    return new Device(name, options);
  }

  /** The name it was opened by. */
  public String name() {
    return name;
  }

  /** True if its tensors may lie in the host's memory, and the host may read and write theirs. */
  public boolean hostAddressable() {
    return name.equals("cpu") || name.equals("simt");
  }

  /** The file of its library. */
  public Path library() {
    return library.file();
  }

  /** The operations of this device. */
  public Kernels kernels() {
    return kernels;
  }

  /** What the device says of itself (tier and why, threads, memory, versions), as a JSON object. */
  public String describe() {
    return kernels.describe();
  }

  /**
   * Allocates a tensor; its contents are undefined.
   *
   * @param name what it is called in memory tables and errors
   * @throws OutOfDeviceMemoryException if there is no room, with the table of what is allocated
   */
  public Tensor allocate(String name, DType dtype, long... shape) {
    long bytes = Tensor.elements(shape) * dtype.bytes();
    long address;
    try {
      address = kernels.allocate(bytes);
    } catch (OutOfDeviceMemoryException e) {
      String what = "no room for '%s' (%,d bytes)".formatted(name, bytes);
      throw new OutOfDeviceMemoryException(what, e.allocations());
    }
    allocations.put(address, new OutOfDeviceMemoryException.Allocation(name, bytes));
    long total = allocatedBytes();
    if (total > peakBytes) {
      peakBytes = total;
      peak = allocations();
    }
    if (FlightRecorder.isInitialized()) { // not loaded only to be told that nobody listens
      DeviceAllocation.record(name, bytes);
    }
    return new Tensor(this, name, dtype, shape.clone(), address);
  }

  /** Allocates a tensor and fills it. */
  public Tensor of(String name, int[] values, long... shape) {
    Tensor tensor = allocate(name, DType.I32, shape);
    tensor.set(values);
    return tensor;
  }

  /** Allocates a tensor and fills it, rounded to nearest even where the dtype is narrower. */
  public Tensor of(String name, DType dtype, float[] values, long... shape) {
    Tensor tensor = allocate(name, dtype, shape);
    tensor.set(values);
    return tensor;
  }

  /**
   * A tensor in the host's own memory, for as long as that is not closed; of a {@link
   * #hostAddressable} device only.
   */
  public Tensor wrap(String name, DType dtype, MemorySegment memory, long... shape) {
    long bytes = Tensor.elements(shape) * dtype.bytes();
    if (!hostAddressable()) {
      throw new IllegalArgumentException(
          "device '" + this.name + "' cannot address the host's memory: allocate and copy instead");
    }
    if (!memory.isNative() || memory.byteSize() != bytes) {
      throw new IllegalArgumentException(
          "'%s' %s%s takes %d bytes of native memory, not %d"
              .formatted(name, dtype, Arrays.toString(shape), bytes, memory.byteSize()));
    }
    return new Tensor(this, name, dtype, shape.clone(), memory);
  }

  /** What is allocated now, largest first. */
  public List<OutOfDeviceMemoryException.Allocation> allocations() {
    var all = new ArrayList<>(allocations.values());
    all.sort(Comparator.comparingLong(OutOfDeviceMemoryException.Allocation::bytes).reversed());
    return all;
  }

  /** Bytes allocated now. */
  public long allocatedBytes() {
    return allocations.values().stream()
        .mapToLong(OutOfDeviceMemoryException.Allocation::bytes)
        .sum();
  }

  /** What was allocated when the most was, largest first. */
  public List<OutOfDeviceMemoryException.Allocation> peak() {
    return peak;
  }

  /**
   * Records what {@code operations} asks of this device's kernels, without doing it, to be done at
   * one stroke as often as wanted: by {@link Graph#launch}, on the same tensors, with what they
   * hold then. Kernels only: while recording nothing is allocated or copied to and from Java.
   *
   * @return null, and nothing was asked, where the device has no graphs (a CPU)
   */
  public @Nullable Graph record(Runnable operations) {
    if (!kernels.graphBegin()) {
      return null;
    }
    try {
      operations.run();
    } catch (RuntimeException | Error e) {
      try {
        kernels.graphDestroy(kernels.graphEnd());
      } catch (DeviceException also) {
        e.addSuppressed(also);
      }
      throw e;
    }
    return new Graph(this, kernels.graphEnd());
  }

  /** A moment to be recorded. */
  public Event event() {
    return new Event(this);
  }

  /** Waits for all that was asked, and throws what failed of it. */
  public void synchronize() {
    kernels.synchronize();
  }

  /** Frees the device and every tensor on it. Closing twice is allowed. */
  @Override
  public void close() {
    if (handle != 0) {
      kernels.close(handle);
      handle = 0;
      allocations.clear();
      arena.close();
    }
  }

  long handle() {
    if (handle == 0) {
      throw new IllegalStateException("device '" + name + "' is closed");
    }
    return handle;
  }

  boolean isOpen() {
    return handle != 0;
  }

  void free(long address) {
    if (handle != 0 && allocations.remove(address) != null) {
      kernels.free(address);
    }
  }

  /** {@code bytes} zero bytes off the heap, for staging. */
  static MemorySegment stage(Arena arena, long bytes) {
    return arena.allocate(Math.max(1, bytes), ValueLayout.JAVA_LONG.byteAlignment());
  }
}
