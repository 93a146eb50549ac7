package org.lethe.gpu;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.lethe.conformance.Conformance;
import org.lethe.kernels.DType;
import org.lethe.kernels.Kernels.Layout;
import org.lethe.kernels.Tensor;
import tools.jackson.databind.json.JsonMapper;

/** A part of the run, item by item. Seconds are the most it may take; those left by one go on. */
enum Step {
  DEVICE(30),
  SUITE(150),
  SANITIZER(90),
  CEILINGS(30),
  KERNELS(90),
  LAYER(40),
  TRAINING(80),
  DECODING(40);

  final int seconds;

  Step(int seconds) {
    this.seconds = seconds;
  }

  String title() {
    return name().toLowerCase(Locale.ROOT);
  }

  List<String> items(Sizes sizes) {
    return switch (this) {
      case DEVICE -> List.of("description");
      case SUITE -> sizes.suite();
      // Under compute-sanitizer a kernel is tens of times slower: those with the hardest
      // addressing.
      case SANITIZER ->
          sizes.suite().stream()
              .filter(List.of("rmsnorm", "swiglu", "attention", "cross_entropy")::contains)
              .toList();
      case CEILINGS -> List.of("matrix product", "copy");
      case KERNELS -> KernelTimes.NAMES;
      case LAYER, TRAINING, DECODING -> List.of(title());
    };
  }

  /**
   * Does it.
   *
   * @return what came of it, for JSON; {@code fault} where something is wrong
   */
  Map<String, Object> run(String item, Bench bench) {
    return switch (this) {
      case DEVICE -> Map.of("described", JsonMapper.shared().readTree(bench.device.describe()));
      case SUITE, SANITIZER -> suite(item, bench);
      case CEILINGS -> item.equals("copy") ? copy(bench) : product(bench);
      case KERNELS -> KernelTimes.measure(item, bench);
      case LAYER -> Passes.layer(bench);
      case TRAINING -> Passes.training(bench);
      case DECODING -> Passes.decoding(bench);
    };
  }

  private static Map<String, Object> suite(String operation, Bench bench) {
    List<Conformance.Verdict> verdicts =
        Conformance.verify(bench.device, (o, _) -> o.equals(operation), new Unheard());
    var row = new LinkedHashMap<String, Object>();
    row.put("trials", verdicts.stream().mapToInt(Conformance.Verdict::trials).sum());
    List<Conformance.Failure> failures =
        verdicts.stream().flatMap(v -> v.failures().stream()).toList();
    if (!failures.isEmpty()) {
      Conformance.Failure first = failures.getFirst();
      row.put("failed", failures.size());
      row.put("fault", first.trial() + ": " + first.fault());
      row.put("failures", failures);
    }
    return row;
  }

  private static Map<String, Object> product(Bench bench) {
    int side = bench.sizes.side();
    try (Tensor a = bench.device.allocate("a", DType.BF16, side, side);
        Tensor b = bench.device.allocate("b", DType.BF16, side, side);
        Tensor c = bench.device.allocate("c", DType.BF16, side, side)) {
      bench.randomize(a.view("a", 0, a.elements()));
      bench.randomize(b.view("b", 0, b.elements()));
      double seconds =
          bench.seconds(() -> bench.device.kernels().matmul(c, a, b, Layout.NT, false));
      return Map.of("side", side, "per_second", 2.0 * side * side * side / seconds);
    }
  }

  private static Map<String, Object> copy(Bench bench) {
    long n = bench.sizes.copied() / Float.BYTES;
    try (Tensor source = bench.device.allocate("source", DType.F32, n);
        Tensor target = bench.device.allocate("target", DType.F32, n)) {
      bench.device.kernels().fill(source, 1);
      double seconds = bench.seconds(() -> bench.device.kernels().convert(target, source));
      return Map.of("bytes", 4 * n, "per_second", 2.0 * 4 * n / seconds);
    }
  }

  /** Whoever ran the step knows what it began. */
  private record Unheard() implements Conformance.Listener {
    @Override
    public void begins(String operation, DType dtype, int done, int all) {}

    @Override
    public void tried(int done, int all) {}
  }
}
