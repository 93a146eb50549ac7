package org.lethe.cli;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.ToLongBiFunction;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.Kernels.Layout;
import org.lethe.kernels.Tensor;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * What a plan is made for.
 *
 * @param usableBytes memory that a run may take
 * @param ceilings by where they are from: {@code datasheet}, {@code measured}, {@code given}
 * @param workspace bytes that its attention backward needs
 */
record Machine(
    String name,
    long usableBytes,
    Map<String, Ceilings> ceilings,
    ToLongBiFunction<DType, Kernels.Heads> workspace) {
  static final List<String> GPUS = List.of("h100-80gb", "a100-80gb", "rtx4090-24gb");

  static final String DATASHEET = "datasheet";
  static final String MEASURED = "measured";
  static final String GIVEN = "given";

  /** Bytes copied to see how fast memory is: larger than caches. */
  private static final long COPIED = 256L << 20;

  private static final int SIDE = 2048;
  private static final int TRIALS = 5;

  /**
   * The two rates that nothing exceeds.
   *
   * @param flopsPerSecond of matrix products of the dtype asked for
   * @param bytesPerSecond of memory
   * @param source what says so
   */
  record Ceilings(double flopsPerSecond, double bytesPerSecond, String source) {}

  /**
   * A GPU that is described, not there.
   *
   * @param gpu one of {@link #GPUS}, or a JSON file like theirs
   */
  static Machine gpu(String gpu, DType dtype) {
    JsonNode json = read(gpu);
    var ceilings = new LinkedHashMap<String, Ceilings>();
    for (String kind : List.of(DATASHEET, MEASURED)) {
      if (json.path(kind).isObject()) {
        JsonNode rates = json.path(kind);
        ceilings.put(
            kind,
            new Ceilings(
                number(gpu, rates, dtype == DType.BF16 ? "bf16_flops" : "f32_flops"),
                number(gpu, rates, "bytes_per_second"),
                rates.path("source").asString("")));
      }
    }
    if (!ceilings.containsKey(DATASHEET)) {
      throw new IllegalArgumentException(gpu + ": lacks '" + DATASHEET + "'");
    }
    // What lethe_attention_backward_workspace of liblethe_cuda says: the row sums of dO O.
    return new Machine(
        json.path("name").asString(gpu),
        (long) number(gpu, json, "usable_bytes"),
        ceilings,
        (_, heads) -> Float.BYTES * heads.B() * heads.T() * heads.Hq());
  }

  private static JsonNode read(String gpu) {
    Path file = Path.of(gpu);
    boolean known = GPUS.contains(gpu);
    if (!known && !Files.isRegularFile(file)) {
      throw new IllegalArgumentException(
          "there is no GPU '%s', neither a file nor a name; names are: %s"
              .formatted(gpu, String.join(", ", GPUS)));
    }
    try (InputStream in =
        known
            ? Objects.requireNonNull(Machine.class.getResourceAsStream(gpu + ".json"))
            : Files.newInputStream(file)) {
      return new JsonMapper().readTree(in);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (JacksonException e) {
      throw new IllegalArgumentException(gpu + ": is not JSON: " + e.getOriginalMessage(), e);
    }
  }

  private static double number(String gpu, JsonNode in, String key) {
    double value = in.path(key).doubleValue(0);
    if (!(value > 0)) {
      throw new IllegalArgumentException(
          "%s: '%s' is %s, must be a number above 0".formatted(gpu, key, in.path(key)));
    }
    return value;
  }

  /** A device that is there; its ceilings are measured, which takes a second or two. */
  static Machine device(Device device, DType dtype, boolean measure) {
    JsonNode described = new JsonMapper().readTree(device.describe());
    var ceilings = new LinkedHashMap<String, Ceilings>();
    if (measure) {
      ceilings.put(
          MEASURED,
          new Ceilings(
              productRate(device, dtype),
              copyRate(device),
              "best of %d: a product of %d x %d x %d, a copy of %d MiB"
                  .formatted(TRIALS, SIDE, SIDE, SIDE, COPIED >> 20)));
    }
    return new Machine(
        "%s (%s)".formatted(described.path("name").asString(""), device.name()),
        // A GPU says what others, the driver and its context have left of it.
        described.path("free_bytes").longValue(described.path("memory_bytes").longValue(0)),
        ceilings,
        (type, heads) -> device.kernels().attentionBackwardWorkspace(type, heads));
  }

  private static double productRate(Device device, DType dtype) {
    try (Tensor a = device.allocate("a", dtype, SIDE, SIDE);
        Tensor b = device.allocate("b", dtype, SIDE, SIDE);
        Tensor c = device.allocate("c", dtype, SIDE, SIDE)) {
      device.kernels().fill(a, 1);
      device.kernels().fill(b, 1);
      double flops = 2.0 * SIDE * SIDE * SIDE;
      return flops / seconds(device, () -> device.kernels().matmul(c, a, b, Layout.NT, false));
    }
  }

  private static double copyRate(Device device) {
    int rows = 1024;
    long width = COPIED / rows / Float.BYTES;
    int[] order = new int[rows];
    Arrays.setAll(order, i -> i);
    try (Tensor source = device.allocate("source", DType.F32, rows, width);
        Tensor target = device.allocate("target", DType.F32, rows, width);
        Tensor index = device.of("index", order, rows)) {
      device.kernels().fill(source, 1);
      return 2 * COPIED / seconds(device, () -> device.kernels().gatherRows(target, source, index));
    }
  }

  /** The shortest time of some, after one to warm up. */
  private static double seconds(Device device, Runnable work) {
    double best = Double.POSITIVE_INFINITY;
    for (int i = 0; i <= TRIALS; i++) {
      device.synchronize();
      long start = System.nanoTime();
      work.run();
      device.synchronize();
      if (i > 0) {
        best = Math.min(best, (System.nanoTime() - start) / 1e9);
      }
    }
    return best;
  }
}
