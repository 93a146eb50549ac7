package org.lethe.model;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Kernels.Layout;
import org.lethe.kernels.MemoryPlan;
import org.lethe.kernels.Tensor;

/**
 * A Llama's weights on a device: F32, or BF16 with (to train) or without (to run) the low halves
 * that make them exact fp32.
 */
public final class LlamaWeights implements ParameterSource, AutoCloseable {
  /** Elements staged at a time: 16 MiB of F32. */
  private static final long CHUNK = 1 << 22;

  private static final String HIGH = "weights";
  private static final String LOW = "weights, low halves";

  private final LlamaConfig config;
  private final Device device;
  private final DType dtype;
  private final MemoryPlan.@Nullable Arena arena; // none where all of them lie in a file
  private final @Nullable Tensor low;
  private final LlamaParameters parameters;
  private @Nullable PackedWeights packed;

  private LlamaWeights(
      LlamaConfig config,
      Device device,
      DType dtype,
      MemoryPlan.@Nullable Arena arena,
      @Nullable Tensor low,
      LlamaParameters parameters) {
    this.config = config;
    this.device = device;
    this.dtype = dtype;
    this.arena = arena;
    this.low = low;
    this.parameters = parameters;
  }

  /** What such weights take, by name. */
  public static MemoryPlan plan(LlamaConfig config, DType dtype, boolean exact) {
    long n = LlamaParameters.elements(config);
    var plan = new MemoryPlan("weights").add(HIGH, dtype, n);
    return hasLow(dtype, exact) ? plan.add(LOW, DType.I16, n) : plan;
  }

  private static boolean hasLow(DType dtype, boolean exact) {
    return exact && dtype == DType.BF16;
  }

  /**
   * Loads the weights.
   *
   * @param dtype F32 or BF16
   * @param exact keep BF16 weights' low halves, as training needs
   * @throws org.lethe.kernels.OutOfDeviceMemoryException if they do not fit
   */
  public static LlamaWeights load(
      Device device, LlamaConfig config, ParameterSource source, DType dtype, boolean exact) {
    LlamaWeights weights = allocate(device, config, dtype, exact);
    try {
      weights.zeroGaps();
      weights.fill(source, weights.parameters.parameters());
      return weights;
    } catch (RuntimeException | Error e) {
      weights.close();
      throw e;
    }
  }

  /** Room for weights, for the caller to fill: what they are is undefined. */
  public static LlamaWeights allocate(
      Device device, LlamaConfig config, DType dtype, boolean exact) {
    MemoryPlan.Arena arena = plan(config, dtype, exact).allocate(device);
    Tensor low = hasLow(dtype, exact) ? arena.get(LOW) : null;
    var parameters = new LlamaParameters(config, arena.get(HIGH));
    return new LlamaWeights(config, device, dtype, arena, low, parameters);
  }

  /**
   * Weights to run, where they lie: what the source gives in memory ({@link ParameterSource#bf16}),
   * in the order that products read it, is neither copied nor allocated. The rest is loaded, and
   * all of it where they are to be F32 or the device cannot address the host's memory.
   *
   * <p>The memory must stay: of a mapped file, the file must not be cut or written over meanwhile
   * (replacing it by another is no harm), or the process is ended by the system's SIGBUS.
   *
   * @param dtype F32 or BF16
   * @throws org.lethe.kernels.OutOfDeviceMemoryException if what is loaded does not fit
   */
  public static LlamaWeights map(
      Device device, LlamaConfig config, ParameterSource source, DType dtype) {
    var lying = new HashMap<LlamaParameters.Group, MemorySegment>();
    var loaded = new ArrayList<LlamaParameters.Parameter>();
    var plan = new MemoryPlan(HIGH);
    for (LlamaParameters.Group group : LlamaParameters.groups(config)) {
      MemorySegment memory =
          dtype == DType.BF16 && device.hostAddressable() ? together(group, source) : null;
      if (memory != null) {
        lying.put(group, memory);
      } else {
        plan.add(group.name(), dtype, group.shape());
        loaded.addAll(group.parameters());
      }
    }
    MemoryPlan.Arena arena = loaded.isEmpty() ? null : plan.allocate(device);
    try {
      var parameters =
          new LlamaParameters(
              config,
              group -> {
                MemorySegment memory = lying.get(group);
                return memory != null
                    ? device.wrap(group.name(), dtype, memory, group.shape())
                    : Objects.requireNonNull(arena).get(group.name());
              });
      var weights = new LlamaWeights(config, device, dtype, arena, null, parameters);
      weights.fill(source, loaded);
      return weights;
    } catch (RuntimeException | Error e) {
      if (arena != null) {
        arena.close();
      }
      throw e;
    }
  }

  /** The memory of all of the group, where each follows the one before. */
  private static @Nullable MemorySegment together(
      LlamaParameters.Group group, ParameterSource source) {
    MemorySegment all = null;
    for (LlamaParameters.Parameter p : group.parameters()) {
      MemorySegment memory = source.bf16(p.name());
      if (memory == null || (all != null && all.address() + all.byteSize() != memory.address())) {
        return null;
      }
      all = all == null ? memory : all.reinterpret(all.byteSize() + memory.byteSize());
    }
    return all;
  }

  private void fill(ParameterSource source, List<LlamaParameters.Parameter> some) {
    var converted = new ArrayList<LlamaParameters.Parameter>();
    for (LlamaParameters.Parameter p : some) {
      MemorySegment stored = dtype == DType.BF16 ? source.bf16(p.name()) : null;
      if (stored != null) {
        parameters.tensor(p.name()).copyFrom(stored);
        zeroLow(p.first(), p.elements());
      } else {
        converted.add(p);
      }
    }
    if (!converted.isEmpty()) {
      convert(source, converted);
    }
  }

  /** Between parameters lies nothing; what goes over the flat tensor as a whole reads zeros. */
  private void zeroGaps() {
    long end = 0;
    for (LlamaParameters.Parameter p : parameters.parameters()) {
      if (p.first() > end) {
        device.kernels().fill(parameters.flat().view("gap", end, p.first() - end), 0);
        zeroLow(end, p.first() - end);
      }
      end = p.first() + p.elements();
    }
  }

  private void zeroLow(long first, long count) {
    if (low != null) {
      device.kernels().fill(low.cast("zeros", DType.BF16, 2 * first, count), 0);
    }
  }

  private void convert(ParameterSource source, List<LlamaParameters.Parameter> some) {
    long staged = Math.min(CHUNK, some.stream().mapToLong(p -> p.elements()).max().orElseThrow());
    try (Arena arena = Arena.ofConfined();
        Tensor stage = device.allocate("loading", DType.F32, staged)) {
      MemorySegment host = arena.allocate(staged * Float.BYTES, Float.BYTES);
      for (LlamaParameters.Parameter p : some) {
        for (long i = 0; i < p.elements(); i += staged) {
          long count = Math.min(staged, p.elements() - i);
          MemorySegment part = host.asSlice(0, count * Float.BYTES);
          source.read(p.name(), i, part);
          put(p, i, stage.view("loading", 0, count), part);
        }
      }
    }
  }

  private void put(LlamaParameters.Parameter p, long from, Tensor stage, MemorySegment values) {
    long count = stage.elements();
    Tensor target = parameters.tensor(p.name()).view("weights", from, count);
    stage.copyFrom(values);
    if (low != null) {
      device.kernels().split(target, low.view("low", p.first() + from, count), stage);
    } else {
      device.kernels().convert(target, stage);
    }
  }

  /** Reads a parameter back, exact where the low halves are kept. */
  @Override
  public void read(String name, long first, MemorySegment f32) {
    Tensor parameter = parameters.tensor(name);
    long firstLow = parameters.find(name).first() + first;
    long left = f32.byteSize() / Float.BYTES;
    try (Arena arena = Arena.ofConfined();
        Tensor stage = device.allocate("saving", DType.F32, Math.min(CHUNK, left))) {
      MemorySegment host = arena.allocate(stage.bytes(), Float.BYTES);
      for (long done = 0; done < left; done += stage.elements()) {
        long count = Math.min(stage.elements(), left - done);
        Tensor part = stage.view("saving", 0, count);
        Tensor source = parameter.view("weights", first + done, count);
        if (low != null) {
          device.kernels().join(part, source, low.view("low", firstLow + done, count));
        } else {
          device.kernels().convert(part, source);
        }
        MemorySegment copied = host.asSlice(0, count * Float.BYTES);
        part.copyTo(copied);
        MemorySegment.copy(
            copied,
            ValueLayout.JAVA_FLOAT,
            0,
            f32,
            ValueLayout.JAVA_FLOAT_UNALIGNED,
            done * Float.BYTES,
            count);
      }
    }
  }

  /** The sizes. */
  public LlamaConfig config() {
    return config;
  }

  /** Where they lie. */
  public Device device() {
    return device;
  }

  /** What products read: F32, or the BF16 (high halves of the) weights. */
  public DType dtype() {
    return dtype;
  }

  /** The parameters as kernels take them. */
  public LlamaParameters parameters() {
    return parameters;
  }

  /** The low halves, or null where there are none. */
  public @Nullable Tensor low() {
    return low;
  }

  /** True if nothing was rounded: F32, or BF16 with its low halves. */
  public boolean isExact() {
    return dtype == DType.F32 || low != null;
  }

  /**
   * Packs the matrices without loss, beside themselves, where the device has a form for that (a
   * CPU, for BF16 weights): decoding one sequence or a few then reads a quarter less, and computes
   * the same bits. It takes 77% of their bytes more memory, and as long as it saves in some hundred
   * tokens, so it is for whoever decodes more than those. A second call does nothing.
   *
   * @return whether they are packed
   * @throws IllegalStateException for weights to train, which do not stay as they are packed
   * @throws org.lethe.kernels.OutOfDeviceMemoryException if there is no room
   */
  public boolean pack() {
    if (low != null) {
      throw new IllegalStateException("weights that are trained cannot be packed: they change");
    }
    if (packed == null) {
      packed = PackedWeights.of(parameters.matrices());
    }
    return packed != null;
  }

  /** Bytes that {@link #pack} takes; 0 where the device has no form for that. */
  public long packedBytes() {
    return PackedWeights.plan(parameters.matrices()).bytes();
  }

  /** c = a weightᵀ, from the packed weight where there is one. */
  void multiply(Tensor c, Tensor a, Tensor weight) {
    Tensor instead = packed == null ? null : packed.of(weight);
    if (instead == null) {
      device.kernels().matmul(c, a, weight, Layout.NT, false);
    } else {
      device.kernels().matmulPacked(c, a, instead, weight);
    }
  }

  @Override
  public void close() {
    if (packed != null) {
      packed.close();
    }
    if (arena != null) {
      arena.close();
    }
  }
}
