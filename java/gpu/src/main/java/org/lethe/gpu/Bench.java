package org.lethe.gpu;

import java.util.Arrays;
import java.util.SplittableRandom;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Event;
import org.lethe.kernels.Tensor;
import org.lethe.model.LlamaConfig;
import org.lethe.model.LlamaParameters;
import org.lethe.model.LlamaWeights;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** What measurements share: the device, its clock, random operands made on it. */
final class Bench implements AutoCloseable {
  private static final int NOISE = 1 << 16;

  final Device device;
  final Sizes sizes;
  private final Tensor noise;

  Bench(Device device, Sizes sizes) {
    this.device = device;
    this.sizes = sizes;
    var random = new SplittableRandom(1);
    float[] values = new float[NOISE];
    for (int i = 0; i < NOISE; i++) {
      values[i] = (random.nextInt() >> 8) * 0x1p-28f; // in [-1/32, 1/32), as weights are
    }
    noise = device.of("noise", DType.F32, values, NOISE);
  }

  /**
   * The median of the device's seconds for {@code work}, after one that warms up. Before each
   * sample other memory is written, so that nothing is found in a cache; and as the device is busy
   * with that while it is asked for the rest, no wait for the CPU is measured.
   */
  double seconds(Runnable work) {
    double[] seconds = new double[sizes.samples()];
    try (Tensor other = device.allocate("flushed", DType.BYTE, sizes.copied() / 4);
        Event before = device.event();
        Event after = device.event()) {
      Tensor written = other.cast("flushed", DType.F32, 0, other.bytes() / Float.BYTES);
      work.run();
      for (int i = 0; i < seconds.length; i++) {
        device.kernels().fill(written, i);
        before.record();
        work.run();
        after.record();
        seconds[i] = after.secondsSince(before);
      }
    }
    Arrays.sort(seconds);
    return seconds[seconds.length / 2];
  }

  /** Fills with uniform random numbers in [-1/32, 1/32). */
  void randomize(Tensor flat) {
    for (long at = 0; at < flat.elements(); at += NOISE) {
      long count = Math.min(NOISE, flat.elements() - at);
      device.kernels().convert(flat.view("part", at, count), noise.view("noise", 0, count));
    }
  }

  int[] tokens(int n) {
    return new SplittableRandom(2).ints(n, 0, sizes.config().vocabulary()).toArray();
  }

  /** BF16 weights made on the device: norms 1, the rest random. */
  LlamaWeights weights(LlamaConfig config, boolean exact) {
    LlamaWeights weights = LlamaWeights.allocate(device, config, DType.BF16, exact);
    LlamaParameters parameters = weights.parameters();
    Tensor flat = parameters.flat();
    device.kernels().fill(flat, 0);
    for (LlamaParameters.Parameter p : parameters.parameters()) {
      Tensor tensor = flat.view(p.name(), p.first(), p.elements());
      if (p.norm()) {
        device.kernels().fill(tensor, 1);
      } else {
        randomize(tensor);
      }
    }
    Tensor low = weights.low();
    if (low != null) {
      device.kernels().fill(low.cast("low", DType.BF16, 0, low.elements()), 0);
    }
    return weights;
  }

  /** Bytes that can still be allocated, less what CUDA and cuBLAS take besides. */
  long room() {
    JsonNode described = JsonMapper.shared().readTree(device.describe());
    long free = described.path("free_bytes").longValue(described.path("memory_bytes").longValue(0));
    return free - Math.min(free / 16, 2L << 30);
  }

  /** Refuses a result that cannot be. */
  static double finite(String what, double value) {
    if (!(value > 0 && Double.isFinite(value))) {
      throw new ArithmeticException(what + " is " + value);
    }
    return value;
  }

  @Override
  public void close() {
    noise.close();
  }
}
